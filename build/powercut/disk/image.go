package disk

import (
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
)

// sector is the unit that a disk writes completely or not at all.
const sector = 512

// All is the image of a disk that has lost nothing.
func (s *State) All() []File {
	names := maps.Clone(s.names)
	for _, c := range s.moves {
		move(names, c)
	}
	return s.image(names, whole)
}

// Torn is an image that the disk could hold after a power cut, by chance:
//
//   - the first few of the moves of names since the folder was synced, in their
//     order, as a journal keeps them; or any subset, as a disk without one does
//   - of the changes of a file since it was synced any subset, and of each
//     write any subset of its sectors
func (s *State) Torn(rand *rand.Rand) []File {
	names := maps.Clone(s.names)
	for _, c := range s.kept(rand) {
		move(names, c)
	}
	keep := []float64{0, 0.1, 0.5, 0.9, 1}[rand.IntN(5)]
	return s.image(names, func(data []byte, c change) []byte {
		if rand.Float64() >= keep {
			return data
		}
		if c.Op == Truncate || rand.IntN(2) == 0 {
			return whole(data, c)
		}
		return torn(data, c, rand)
	})
}

// kept are the renames that survive the cut.
func (s *State) kept(rand *rand.Rand) (kept []change) {
	if rand.IntN(2) == 0 {
		return s.moves[:rand.IntN(len(s.moves)+1)]
	}
	for _, c := range s.moves {
		if rand.IntN(2) == 0 {
			kept = append(kept, c)
		}
	}
	return kept
}

// torn applies some of the sectors of a write. Even if the others are missing the file may
// have grown.
func torn(data []byte, c change, rand *rand.Rand) []byte {
	if end := int(c.At) + len(c.Data); end > len(data) && rand.IntN(2) == 0 {
		data = sized(data, end)
	}
	for from := int64(0); from < int64(len(c.Data)); {
		to := min(int64(len(c.Data)), from+sector-(c.At+from)%sector)
		if rand.IntN(2) == 0 {
			data = put(data, c.At+from, c.Data[from:to])
		}
		from = to
	}
	return data
}

func (s *State) image(names map[string]int, apply func([]byte, change) []byte) []File {
	var image []File
	for _, name := range slices.Sorted(maps.Keys(names)) {
		f := s.files[names[name]]
		data := slices.Clone(f.data)
		for _, c := range f.changes {
			data = apply(data, c)
		}
		image = append(image, File{name, data})
	}
	return image
}

// Lay writes an image into a folder, and removes everything else from it.
func Lay(dir string, image []File) error {
	if err := os.RemoveAll(dir); err != nil {
		return err
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		return err
	}
	for _, f := range image {
		if err := os.WriteFile(filepath.Join(dir, f.Name), f.Data, 0o600); err != nil {
			return err
		}
	}
	return nil
}

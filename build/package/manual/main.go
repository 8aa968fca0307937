// Command manual writes the manual pages and the shell completions, from the output of the
// program itself: `holdfast help` lists the commands, and `holdfast COMMAND -h` their
// options.
//
//	go run ./build/package/manual BINARY VERSION DATE FOLDER
package main

import (
	"fmt"
	"log"
	"os"
	"os/exec"
	"path/filepath"
)

func main() {
	if len(os.Args) != 5 {
		log.Fatal("usage: manual BINARY VERSION DATE FOLDER")
	}
	if err := write(os.Args[1], edition{os.Args[2], os.Args[3]}, os.Args[4]); err != nil {
		log.Fatal("manual: ", err)
	}
}

// An edition is the text in the footer of a manual page.
type edition struct{ version, date string }

// write creates the folders man1 and completions in a folder.
func write(binary string, e edition, folder string) error {
	p, err := ask(func(args ...string) (string, error) {
		text, err := exec.Command(binary, args...).CombinedOutput()
		if err != nil {
			return "", fmt.Errorf("%s %v: %w: %s", binary, args, err, text)
		}
		return string(text), nil
	})
	if err != nil {
		return err
	}
	files := map[string]string{
		"completions/" + p.name + ".bash": p.bash(),
		"completions/_" + p.name:          p.zsh(),
		"completions/" + p.name + ".fish": p.fish(),
		"man1/" + p.name + ".1":           p.page(e),
	}
	for _, c := range p.commands {
		files["man1/"+p.name+"-"+c.name+".1"] = c.page(e)
	}
	for name, text := range files {
		name = filepath.Join(folder, name)
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			return err
		}
	}
	return nil
}

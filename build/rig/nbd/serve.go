package nbd

import (
	"errors"
	"fmt"
	"io"
	"net"
)

// Constants of the transmission phase: section "Request types" of the protocol.
const (
	magicRequest     = 0x25609513
	magicSimpleReply = 0x67446698

	cmdRead       = 0
	cmdWrite      = 1
	cmdDisconnect = 2
	cmdFlush      = 3

	flagFUA = 1

	errInvalid = 22 // NBD_EINVAL
)

const longestRequest = 1 << 25 // clients may assume this limit

// Serve serves the disk to each machine that connects, one after the other, until the
// listener is closed.
func (d *Disk) Serve(l net.Listener) error {
	for {
		c, err := l.Accept()
		if errors.Is(err, net.ErrClosed) {
			return nil
		}
		if err != nil {
			return err
		}
		d.serve(c) // the only error is the end of the machine
	}
}

func (d *Disk) serve(c net.Conn) error {
	defer c.Close()
	s := d.session()
	if err := handshake(c, d.size); err != nil {
		return err
	}
	for {
		q, err := next(c)
		if err != nil {
			return err
		}
		if q.Kind == cmdDisconnect {
			return nil
		}
		if err := s.answer(c, q); err != nil {
			return err
		}
	}
}

// A request is one command, with its data if it has any.
type request struct {
	head
	data []byte
}

type head struct {
	Magic       uint32
	Flags, Kind uint16
	Cookie      uint64
	Offset      uint64
	Length      uint32
}

func next(r io.Reader) (q request, err error) {
	if err := receive(r, &q.head); err != nil {
		return q, err
	}
	if q.Magic != magicRequest || q.Length > longestRequest {
		return q, fmt.Errorf("nbd: request with magic %#x for %d bytes", q.Magic, q.Length)
	}
	if q.Kind == cmdWrite {
		q.data = make([]byte, q.Length)
		_, err = io.ReadFull(r, q.data)
	}
	return q, err
}

// answer executes a request. After a power cut there is no answer.
func (s *session) answer(w io.Writer, q request) error {
	code, out := uint32(0), []byte(nil)
	var err error
	switch {
	case !s.holds(q.head):
		code = errInvalid
	case q.Kind == cmdRead:
		out = make([]byte, q.Length)
		err = s.read(out, int64(q.Offset))
	case q.Kind == cmdWrite:
		err = s.write(q.data, int64(q.Offset), q.Flags&flagFUA != 0)
	case q.Kind == cmdFlush:
		err = s.flush()
	default:
		code = errInvalid
	}
	if err != nil {
		return err
	}
	return send(w, uint32(magicSimpleReply), code, q.Cookie, out)
}

// holds reports whether a request is for whole sectors of the disk.
func (s *session) holds(h head) bool {
	size, end := uint64(s.size), h.Offset+uint64(h.Length)
	return h.Offset <= size && end <= size && h.Offset%sectorSize == 0 && h.Length%sectorSize == 0
}

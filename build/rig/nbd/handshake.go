package nbd

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// Constants of the protocol's handshake: doc/proto.md of the NBD project, sections "Fixed
// newstyle negotiation" and "Values". All numbers are big-endian.
const (
	magicServer  = 0x4e42444d41474943 // "NBDMAGIC"
	magicOption  = 0x49484156454f5054 // "IHAVEOPT"
	magicReply   = 0x0003e889045565a9
	fixedNoZeros = 1 | 2 // NBD_FLAG_FIXED_NEWSTYLE, NBD_FLAG_NO_ZEROES

	optAbort = 2
	optGo    = 7

	repAck         = 1
	repInfo        = 3
	repUnsupported = 1<<31 | 1

	infoExport = 0
	infoBlocks = 3

	hasFlags  = 1 << 0
	sendFlush = 1 << 2
	sendFUA   = 1 << 3
)

const longestOption = 4096 // names have at most 4096 bytes

var errAborted = errors.New("nbd: the client has gone")

// handshake negotiates the only export, whatever its name.
func handshake(c io.ReadWriter, size int64) error {
	if err := send(c, uint64(magicServer), uint64(magicOption), uint16(fixedNoZeros)); err != nil {
		return err
	}
	var clientFlags uint32
	if err := receive(c, &clientFlags); err != nil {
		return err
	}
	for {
		var o struct {
			Magic           uint64
			Option, Payload uint32
		}
		if err := receive(c, &o); err != nil {
			return err
		}
		if o.Magic != magicOption || o.Payload > longestOption {
			return fmt.Errorf("nbd: option %d with magic %#x and %d bytes", o.Option, o.Magic, o.Payload)
		}
		if _, err := io.CopyN(io.Discard, c, int64(o.Payload)); err != nil {
			return err
		}
		reply := func(kind uint32, info []byte) error {
			return send(c, uint64(magicReply), o.Option, kind, uint32(len(info)), info)
		}
		switch o.Option {
		case optGo:
			return errors.Join(reply(repInfo, export(size)), reply(repInfo, blocks()), reply(repAck, nil))
		case optAbort:
			return errors.Join(reply(repAck, nil), errAborted)
		}
		// structured replies, TLS and the like: the client goes on without
		if err := reply(repUnsupported, nil); err != nil {
			return err
		}
	}
}

func export(size int64) []byte {
	be := binary.BigEndian
	b := be.AppendUint16(nil, infoExport)
	b = be.AppendUint64(b, uint64(size))
	return be.AppendUint16(b, hasFlags|sendFlush|sendFUA)
}

// blocks limits requests to whole sectors, and recommends 4 KiB.
func blocks() []byte {
	be := binary.BigEndian
	b := be.AppendUint16(nil, infoBlocks)
	for _, size := range []uint32{sectorSize, 4096, longestRequest} {
		b = be.AppendUint32(b, size)
	}
	return b
}

func receive(r io.Reader, into any) error { return binary.Read(r, binary.BigEndian, into) }

func send(w io.Writer, parts ...any) error {
	var b []byte
	for _, part := range parts {
		var err error
		if b, err = binary.Append(b, binary.BigEndian, part); err != nil {
			panic("nbd: " + err.Error()) // a part without a fixed size: a bug
		}
	}
	_, err := w.Write(b)
	return err
}

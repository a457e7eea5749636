// Package formats is a verifier of Quorate's formats, written from docs/formats.md alone and with the standard library
// alone: the parts that the specifications of C2SP do not cover. It shares no code with the product.
package formats

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/bits"
)

// Errors of the reader of Protocol Buffers messages.
var (
	errShort     = errors.New("the message ends within a field")
	errEncoding  = errors.New("not the one encoding of the message")
	errWireType  = errors.New("a field has the wrong wire type")
	errUnknown   = errors.New("a field is unknown")
	errTooLarge  = errors.New("a number is too large")
	errFieldTwin = errors.New("a field occurs twice or out of order")
)

// message reads the one encoding of a Protocol Buffers message ("4.1 Receipt"): fields in order, defaults left out,
// no unknown fields. It never skips anything.
type message struct {
	rest []byte
	last uint64
}

// field is one field: its number, and its bytes or its number.
type field struct {
	tag    uint64
	bytes  []byte
	number uint64
}

// next gives the next field, or nil at the end. A field number in repeated may occur more than once.
func (m *message) next(repeated ...uint64) (*field, error) {
	if len(m.rest) == 0 {
		return nil, nil
	}
	key, err := m.varint()
	if err != nil {
		return nil, err
	}
	f := &field{tag: key >> 3}
	may := false
	for _, tag := range repeated {
		may = may || tag == f.tag
	}
	if f.tag < m.last || (f.tag == m.last && !may) {
		return nil, errFieldTwin
	}
	m.last = f.tag
	switch key & 7 {
	case 0:
		if f.number, err = m.varint(); err != nil {
			return nil, err
		}
		if f.number == 0 {
			return nil, errEncoding
		}
	case 2:
		size, err := m.varint()
		if err != nil {
			return nil, err
		}
		if size > uint64(len(m.rest)) {
			return nil, errShort
		}
		f.bytes, m.rest = m.rest[:size:size], m.rest[size:]
		if size == 0 && !may {
			return nil, errEncoding
		}
		if f.bytes == nil {
			f.bytes = []byte{}
		}
	default:
		return nil, errWireType
	}
	return f, nil
}

// varint reads a number in its shortest form.
func (m *message) varint() (uint64, error) {
	n, size := binary.Uvarint(m.rest)
	if size <= 0 {
		return 0, errShort
	}
	if size != max(1, (bits.Len64(n)+6)/7) {
		return 0, errEncoding
	}
	m.rest = m.rest[size:]
	return n, nil
}

// Extra is the message ReceiptExtra.
type Extra struct {
	Leaf       []byte
	Operations []Revealed
	Meta       []byte
	MetaSalt   []byte
	StateProof []byte
}

// Revealed is the message RevealedOperation.
type Revealed struct {
	Operation  []byte
	Position   uint32
	Path       [][]byte
	Salt       []byte
	Attributes []byte
	Value      []byte
}

// ParseExtra reads the bytes of an extra line.
func ParseExtra(b []byte) (*Extra, error) {
	m, extra := message{rest: b}, &Extra{}
	for {
		f, err := m.next(2)
		if err != nil || f == nil {
			return extra, err
		}
		if f.bytes == nil {
			return nil, errWireType
		}
		switch f.tag {
		case 1:
			extra.Leaf = f.bytes
		case 2:
			revealed, err := parseRevealed(f.bytes)
			if err != nil {
				return nil, fmt.Errorf("operation %d: %w", len(extra.Operations), err)
			}
			extra.Operations = append(extra.Operations, *revealed)
		case 3:
			extra.Meta = f.bytes
		case 4:
			extra.MetaSalt = f.bytes
		case 5:
			extra.StateProof = f.bytes
		default:
			return nil, errUnknown
		}
	}
}

func parseRevealed(b []byte) (*Revealed, error) {
	m, revealed := message{rest: b}, &Revealed{}
	for {
		f, err := m.next(3)
		if err != nil || f == nil {
			return revealed, err
		}
		if (f.bytes == nil) != (f.tag == 2) {
			return nil, errWireType
		}
		switch f.tag {
		case 1:
			revealed.Operation = f.bytes
		case 2:
			if f.number > 1<<32-1 {
				return nil, errTooLarge
			}
			revealed.Position = uint32(f.number)
		case 3:
			revealed.Path = append(revealed.Path, f.bytes)
		case 4:
			revealed.Salt = f.bytes
		case 5:
			revealed.Attributes = f.bytes
		case 6:
			revealed.Value = f.bytes
		default:
			return nil, errUnknown
		}
	}
}

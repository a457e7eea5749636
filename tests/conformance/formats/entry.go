package formats

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
)

// Hash is a SHA-256.
type Hash [32]byte

// None is the prev_index of a key's first write.
const None = ^uint64(0)

func hash(parts ...[]byte) Hash {
	h := sha256.New()
	for _, part := range parts {
		h.Write(part)
	}
	return Hash(h.Sum(nil))
}

// LeafHash is the hash of a leaf of a log tree ("1.1 The tree").
func LeafHash(leaf []byte) Hash { return hash([]byte{0}, leaf) }

func nodeHash(left, right Hash) Hash { return hash([]byte{1}, left[:], right[:]) }

// LogRoot is the root over leaf hashes.
func LogRoot(leaves []Hash) Hash {
	switch len(leaves) {
	case 0:
		return hash()
	case 1:
		return leaves[0]
	}
	split := 1
	for split*2 < len(leaves) {
		split *= 2
	}
	return nodeHash(LogRoot(leaves[:split]), LogRoot(leaves[split:]))
}

// Inclusion checks a path, as "1.1" spells it out.
func Inclusion(leaf Hash, index, size uint64, path []Hash, root Hash) error {
	if index >= size {
		return errors.New("the index is not in the tree")
	}
	f, s, r := index, size-1, leaf
	for _, p := range path {
		if s == 0 {
			return errors.New("the path is too long")
		}
		if f&1 == 1 || f == s {
			r = nodeHash(p, r)
			for f&1 == 0 && f != 0 {
				f, s = f>>1, s>>1
			}
		} else {
			r = nodeHash(r, p)
		}
		f, s = f>>1, s>>1
	}
	if s != 0 || r != root {
		return errors.New("the path does not lead to the root")
	}
	return nil
}

// Consistency checks a path, as "1.1" spells it out.
func Consistency(old uint64, oldRoot Hash, size uint64, root Hash, path []Hash) error {
	if old < 1 || old > size {
		return errors.New("the old size is not from 1 to the new one")
	}
	if old == size {
		if len(path) == 0 && oldRoot == root {
			return nil
		}
		return errors.New("one size, but a path or two roots")
	}
	if old&(old-1) == 0 {
		path = append([]Hash{oldRoot}, path...)
	}
	if len(path) == 0 {
		return errors.New("the path is empty")
	}
	f, s := old-1, size-1
	for f&1 == 1 {
		f, s = f>>1, s>>1
	}
	fr, sr := path[0], path[0]
	for _, p := range path[1:] {
		if s == 0 {
			return errors.New("the path is too long")
		}
		if f&1 == 1 || f == s {
			fr, sr = nodeHash(p, fr), nodeHash(p, sr)
			for f&1 == 0 && f != 0 {
				f, s = f>>1, s>>1
			}
		} else {
			sr = nodeHash(sr, p)
		}
		f, s = f>>1, s>>1
	}
	if s != 0 || fr != oldRoot || sr != root {
		return errors.New("the path does not lead to both roots")
	}
	return nil
}

// TransactionLeaf is the leaf of "1.2".
type TransactionLeaf struct {
	Time, NotAfter                 uint64
	OpCount                        uint32
	OpsRoot, RequestID, MetaDigest Hash
}

// CommitLeaf is the leaf of "1.3".
type CommitLeaf struct {
	Time, FirstIndex uint64
	TxCount          uint32
	StateRoot        Hash
	Epoch            uint64
}

// ParseLeaf gives a *TransactionLeaf, a *CommitLeaf, or nil for a leaf of another version or type.
func ParseLeaf(b []byte) (any, error) {
	be := binary.BigEndian
	switch {
	case len(b) >= 2 && b[0] == 1 && b[1] == 1:
		if len(b) != 118 {
			return nil, errors.New("a transaction leaf has 118 bytes")
		}
		leaf := &TransactionLeaf{
			Time: be.Uint64(b[2:]), NotAfter: be.Uint64(b[10:]), OpCount: be.Uint32(b[18:]),
			OpsRoot: Hash(b[22:54]), RequestID: Hash(b[54:86]), MetaDigest: Hash(b[86:118]),
		}
		if leaf.OpCount < 1 || leaf.OpCount > 4096 {
			return nil, errors.New("op_count is not from 1 to 4,096")
		}
		return leaf, nil
	case len(b) >= 2 && b[0] == 1 && b[1] == 2:
		if len(b) != 62 {
			return nil, errors.New("a commit leaf has 62 bytes")
		}
		return &CommitLeaf{
			Time: be.Uint64(b[2:]), FirstIndex: be.Uint64(b[10:]), TxCount: be.Uint32(b[18:]),
			StateRoot: Hash(b[22:54]), Epoch: be.Uint64(b[54:]),
		}, nil
	}
	return nil, nil
}

// Encode gives the leaf's bytes.
func (l *TransactionLeaf) Encode() []byte {
	b := []byte{1, 1}
	b = binary.BigEndian.AppendUint64(b, l.Time)
	b = binary.BigEndian.AppendUint64(b, l.NotAfter)
	b = binary.BigEndian.AppendUint32(b, l.OpCount)
	return append(append(append(b, l.OpsRoot[:]...), l.RequestID[:]...), l.MetaDigest[:]...)
}

// Encode gives the leaf's bytes.
func (l *CommitLeaf) Encode() []byte {
	b := []byte{1, 2}
	b = binary.BigEndian.AppendUint64(b, l.Time)
	b = binary.BigEndian.AppendUint64(b, l.FirstIndex)
	b = binary.BigEndian.AppendUint32(b, l.TxCount)
	return binary.BigEndian.AppendUint64(append(b, l.StateRoot[:]...), l.Epoch)
}

// RequestID and MetaDigest are those of "1.2".
func RequestID(author string, key []byte) Hash {
	return hash([]byte{6, byte(len(author))}, []byte(author), []byte{byte(len(key))}, key)
}

// MetaDigest is that of "1.2".
func MetaDigest(salt, meta []byte) Hash { return hash([]byte{5}, salt, meta) }

// ValueDigest is that of "1.4".
func ValueDigest(salt, attributes, value []byte) Hash {
	return hash([]byte{4}, salt, binary.BigEndian.AppendUint32(nil, uint32(len(attributes))), attributes, value)
}

// Kinds of operations.
const (
	Put    = 1
	Delete = 2
	Erase  = 3
)

// Operation is that of "1.4".
type Operation struct {
	Kind                           byte
	Revision, PrevIndex, ExpiresAt uint64
	ValueLen                       uint32
	ValueDigest                    Hash
	Key                            []byte
}

// ParseOperation reads an operation; nothing may follow it. An operation of a reserved kind is given as it is.
func ParseOperation(b []byte) (*Operation, error) {
	if len(b) < 63 {
		return nil, errors.New("an operation has 63 bytes and its key")
	}
	be := binary.BigEndian
	keyLen := int(be.Uint16(b[61:]))
	if keyLen < 1 || keyLen > 1024 || len(b) != 63+keyLen {
		return nil, errors.New("an operation has exactly 63 bytes and its key, of 1 to 1,024")
	}
	op := &Operation{
		Kind: b[0], Revision: be.Uint64(b[1:]), PrevIndex: be.Uint64(b[9:]), ExpiresAt: be.Uint64(b[17:]),
		ValueLen: be.Uint32(b[25:]), ValueDigest: Hash(b[29:61]), Key: b[63:],
	}
	switch op.Kind {
	case Put, Delete, Erase:
		if op.Revision == 0 {
			return nil, errors.New("a revision is never 0")
		}
		if op.Kind != Put && (op.ExpiresAt != 0 || op.ValueLen != 0 || op.ValueDigest != Hash{}) {
			return nil, errors.New("only a put has a value")
		}
	}
	return op, nil
}

// Encode gives the operation's bytes.
func (o *Operation) Encode() []byte {
	b := []byte{o.Kind}
	b = binary.BigEndian.AppendUint64(b, o.Revision)
	b = binary.BigEndian.AppendUint64(b, o.PrevIndex)
	b = binary.BigEndian.AppendUint64(b, o.ExpiresAt)
	b = binary.BigEndian.AppendUint32(b, o.ValueLen)
	b = append(b, o.ValueDigest[:]...)
	return append(binary.BigEndian.AppendUint16(b, uint16(len(o.Key))), o.Key...)
}

// opens says whether these contents are what a put wrote.
func (o *Operation) opens(salt, attributes, value []byte) error {
	if o.Kind != Put || uint64(len(value)) != uint64(o.ValueLen) || ValueDigest(salt, attributes, value) != o.ValueDigest {
		return fmt.Errorf("the contents of key %q are not what was written", o.Key)
	}
	return nil
}

// BlockHash is that of "1.7"; bodyHash is H(body).
func BlockHash(cluster []byte, term, height uint64, previous, bodyHash Hash) Hash {
	be := binary.BigEndian
	return hash([]byte("quorate-block/v1\n"), cluster, be.AppendUint64(nil, term), be.AppendUint64(nil, height),
		previous[:], bodyHash[:])
}

// VerifyBlock checks the signature of a block's proposer.
func VerifyBlock(proposer ed25519.PublicKey, blockHash Hash, signature []byte) error {
	if len(proposer) != ed25519.PublicKeySize || !ed25519.Verify(proposer, blockHash[:], signature) {
		return errors.New("the signature of the block does not verify")
	}
	return nil
}

func equal(a, b []byte) bool { return bytes.Equal(a, b) }

package formats

import (
	"encoding/binary"
	"errors"
	"sort"
)

// bits is a bit string of "2.1": the first n of a key's bits, or all.
type bitString struct {
	key []byte
	n   int
}

func bitsOf(key []byte) bitString       { return bitString{key, 9*len(key) + 1} }
func bitsOfPrefix(key []byte) bitString { return bitString{key, 9 * len(key)} }

// at gives bit i: each byte gives a 1 and its 8 bits from the most significant, then one final 0.
func (b bitString) at(i int) int {
	byteAt, place := i/9, i%9
	switch {
	case byteAt == len(b.key):
		return 0
	case place == 0:
		return 1
	}
	return int(b.key[byteAt]>>(8-place)) & 1
}

// compare compares over the common length: -1, 0 or 1.
func compare(a, b bitString) int {
	for i := range min(a.n, b.n) {
		if x, y := a.at(i), b.at(i); x != y {
			return x - y
		}
	}
	return 0
}

// Query is a question about the state: "2.3".
type Query struct {
	kind       string
	first, end []byte
}

// KeyQuery asks about one key, PrefixQuery about all keys that begin with p, RangeQuery about [first, end).
func KeyQuery(key []byte) Query { return Query{"key", key, nil} }

// PrefixQuery asks about all keys that begin with these bytes.
func PrefixQuery(p []byte) Query { return Query{"prefix", p, nil} }

// RangeQuery asks about [first, end); a nil end is none.
func RangeQuery(first, end []byte) Query { return Query{"range", first, end} }

func (q Query) lo() bitString {
	if q.kind == "prefix" {
		return bitsOfPrefix(q.first)
	}
	return bitsOf(q.first)
}

// hi gives the upper bound, if there is one.
func (q Query) hi() (bitString, bool) {
	if q.kind == "range" {
		return bitsOf(q.end), q.end != nil
	}
	return q.lo(), true
}

func (q Query) disjoint(p bitString) bool {
	hi, bounded := q.hi()
	return compare(p, q.lo()) < 0 || (bounded && compare(p, hi) > 0)
}

// contains says whether a key is inside the query. The end of a range is not.
func (q Query) contains(key []byte) bool {
	return !q.disjoint(bitsOf(key)) && !(q.kind == "range" && q.end != nil && equal(key, q.end))
}

// StateLeaf is a leaf of the state tree: a key's newest write.
type StateLeaf struct {
	Index     uint64
	Operation []byte
}

func (l StateLeaf) key() []byte { return l.Operation[63:] }

// Hash is the leaf's hash.
func (l StateLeaf) Hash() Hash {
	inner := LeafHash(l.Operation)
	return hash([]byte{2}, binary.BigEndian.AppendUint64(nil, l.Index), inner[:])
}

func branchHash(d uint16, left, right Hash) Hash {
	return hash([]byte{3}, binary.BigEndian.AppendUint16(nil, d), left[:], right[:])
}

// StateRoot is the root over these leaves, in any order: "2.2".
func StateRoot(leaves []StateLeaf) Hash {
	if len(leaves) == 0 {
		return Hash{}
	}
	sorted := append([]StateLeaf(nil), leaves...)
	sort.Slice(sorted, func(i, j int) bool { return string(sorted[i].key()) < string(sorted[j].key()) })
	return stateRoot(sorted)
}

func stateRoot(sorted []StateLeaf) Hash {
	if len(sorted) == 1 {
		return sorted[0].Hash()
	}
	first, last := bitsOf(sorted[0].key()), bitsOf(sorted[len(sorted)-1].key())
	d := 0
	for first.at(d) == last.at(d) {
		d++
	}
	split := sort.Search(len(sorted), func(i int) bool { return bitsOf(sorted[i].key()).at(d) == 1 })
	return branchHash(uint16(d), stateRoot(sorted[:split]), stateRoot(sorted[split:]))
}

// subtree is a part of a proof that was read: its hash, and one of the keys it reveals.
type subtree struct {
	hash Hash
	key  []byte
}

// reader reads a proof: "2.4".
type reader struct {
	rest  []byte
	query Query
	// The leaves it reveals, in order.
	leaves []StateLeaf
}

func (r *reader) take(n int) ([]byte, error) {
	if n < 0 || n > len(r.rest) {
		return nil, errors.New("the state proof ends early")
	}
	b := r.rest[:n]
	r.rest = r.rest[n:]
	return b, nil
}

// tree reads one tree whose branches are deeper than above. The depth is at most 9,217, and so is the recursion.
func (r *reader) tree(above int) (subtree, error) {
	tag, err := r.take(1)
	if err != nil {
		return subtree{}, err
	}
	switch tag[0] {
	case 1:
		b, err := r.take(32)
		if err != nil {
			return subtree{}, err
		}
		return subtree{hash: Hash(b)}, nil
	case 2:
		return r.leaf()
	case 3:
		b, err := r.take(2)
		if err != nil {
			return subtree{}, err
		}
		d := int(binary.BigEndian.Uint16(b))
		if d <= above || d > 9216 {
			return subtree{}, errors.New("a branch is not deeper than the one above, or too deep")
		}
		left, err := r.tree(d)
		if err != nil {
			return subtree{}, err
		}
		right, err := r.tree(d)
		if err != nil {
			return subtree{}, err
		}
		return r.branch(d, left, right)
	}
	return subtree{}, errors.New("an unknown tag in a state proof")
}

func (r *reader) leaf() (subtree, error) {
	head, err := r.take(12)
	if err != nil {
		return subtree{}, err
	}
	leaf := StateLeaf{Index: binary.BigEndian.Uint64(head)}
	size := binary.BigEndian.Uint32(head[8:])
	if size > 63+1024 {
		return subtree{}, errors.New("an operation in a state proof is too long")
	}
	if leaf.Operation, err = r.take(int(size)); err != nil {
		return subtree{}, err
	}
	if len(leaf.Operation) < 64 || len(leaf.Operation) != 63+int(binary.BigEndian.Uint16(leaf.Operation[61:])) {
		return subtree{}, errors.New("an operation in a state proof is not 63 bytes and its key")
	}
	r.leaves = append(r.leaves, leaf)
	return subtree{leaf.Hash(), leaf.key()}, nil
}

func (r *reader) branch(d int, left, right subtree) (subtree, error) {
	if left.key == nil && right.key == nil {
		return subtree{}, errors.New("a branch reveals nothing")
	}
	key := left.key
	if key == nil {
		key = right.key
	}
	for side, child := range []subtree{left, right} {
		if child.key == nil {
			continue
		}
		bits := bitsOf(child.key)
		if d >= bits.n || bits.at(d) != side {
			return subtree{}, errors.New("a leaf stands on the wrong side of a branch")
		}
		if compare(bitString{key, d}, bits) != 0 {
			return subtree{}, errors.New("the leaves of a branch part above it")
		}
	}
	for side, child := range []subtree{left, right} {
		if child.key == nil && !r.query.disjoint(sided{key, d, side}.string()) {
			return subtree{}, errors.New("a subtree is pruned that the query is about")
		}
	}
	return subtree{branchHash(uint16(d), left.hash, right.hash), key}, nil
}

// sided is the first d bits of a key, and then a side.
type sided struct {
	key     []byte
	d, side int
}

// string gives it as a prefix of some key's bits: where the key itself has another bit at d, one with this bit is made.
func (s sided) string() bitString {
	key := append([]byte(nil), s.key...)
	if byteAt, place := s.d/9, s.d%9; place == 0 {
		// Whether there is another byte: bit 1 is one more (any), bit 0 the end of the key.
		key = key[:byteAt]
		if s.side == 1 {
			key = append(key, 0)
		}
	} else {
		mask := byte(1) << (8 - place)
		key[byteAt] &^= mask
		if s.side == 1 {
			key[byteAt] |= mask
		}
	}
	return bitString{key, s.d + 1}
}

// VerifyState checks a proof under a state root and gives the complete answer to the query.
func VerifyState(root Hash, query Query, proof []byte) ([]StateLeaf, error) {
	answer, _, err := verifyState(root, query, proof)
	return answer, err
}

// verifyState gives all leaves that the proof reveals, too.
func verifyState(root Hash, query Query, proof []byte) (answer, revealed []StateLeaf, err error) {
	if len(proof) == 1 && proof[0] == 0 {
		if root != (Hash{}) {
			return nil, nil, errors.New("the tree is not empty")
		}
		return nil, nil, nil
	}
	r := &reader{rest: proof, query: query}
	tree, err := r.tree(-1)
	switch {
	case err != nil:
		return nil, nil, err
	case len(r.rest) != 0:
		return nil, nil, errors.New("bytes follow the state proof")
	case tree.key == nil:
		return nil, nil, errors.New("the whole tree is pruned")
	case tree.hash != root:
		return nil, nil, errors.New("the state proof does not lead to the state root")
	}
	for _, leaf := range r.leaves {
		if !query.contains(leaf.key()) {
			continue
		}
		op, err := ParseOperation(leaf.Operation)
		if err != nil {
			return nil, nil, err
		}
		if op.Kind != Put && op.Kind != Delete {
			return nil, nil, errors.New("the answer is no write of this version")
		}
		answer = append(answer, leaf)
	}
	return answer, r.leaves, nil
}

package formats

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// Receipt is the file of "4.1" without its note, which is left to whoever knows C2SP's notes and policies.
type Receipt struct {
	Extra *Extra
	Index uint64
	Path  []Hash
	Note  string
}

// Value is what a receipt shows of a write.
type Value struct {
	Index     uint64
	Operation *Operation
	// Whether the contents are shown.
	Shown bool
	Value []byte
}

// ParseReceipt reads a file.
func ParseReceipt(file string) (*Receipt, error) {
	proof, note, ok := strings.Cut(file, "\n\n")
	if !ok {
		return nil, errors.New("an empty line ends the proof")
	}
	lines := strings.Split(proof, "\n")
	if len(lines) < 3 || len(lines) > 3+64 || lines[0] != "c2sp.org/tlog-proof@v1" {
		return nil, errors.New("not a tlog-proof with an extra line, or too long a path")
	}
	text, ok := strings.CutPrefix(lines[1], "extra ")
	if !ok {
		return nil, errors.New("line 2 is not the extra line")
	}
	b, err := decode64(text)
	if err != nil {
		return nil, err
	}
	r := &Receipt{Note: note}
	if r.Extra, err = ParseExtra(b); err != nil {
		return nil, err
	}
	text, ok = strings.CutPrefix(lines[2], "index ")
	if !ok {
		return nil, errors.New("line 3 is not the index line")
	}
	if r.Index, err = strconv.ParseUint(text, 10, 64); err != nil || strconv.FormatUint(r.Index, 10) != text {
		return nil, errors.New("the index is not decimal")
	}
	for _, line := range lines[3:] {
		b, err := decode64(line)
		if err != nil {
			return nil, err
		}
		if len(b) != 32 {
			return nil, errors.New("a line of the path is no hash")
		}
		r.Path = append(r.Path, Hash(b))
	}
	return r, nil
}

// decode64 reads base64 in its one spelling; the standard decoder would skip line breaks.
func decode64(text string) ([]byte, error) {
	b, err := base64.StdEncoding.Strict().DecodeString(text)
	if err != nil || base64.StdEncoding.EncodeToString(b) != text {
		return nil, errors.New("not base64")
	}
	return b, nil
}

// VerifyTransaction checks a receipt of a transaction under a checkpoint that a policy has certified, and gives its
// operations that are shown.
func (r *Receipt) VerifyTransaction(size uint64, root Hash) (*TransactionLeaf, []Value, error) {
	leaf, err := ParseLeaf(r.Extra.Leaf)
	if err != nil {
		return nil, nil, err
	}
	tx, ok := leaf.(*TransactionLeaf)
	if !ok {
		return nil, nil, errors.New("the leaf is not that of a transaction")
	}
	if err := Inclusion(LeafHash(r.Extra.Leaf), r.Index, size, r.Path, root); err != nil {
		return nil, nil, err
	}
	if len(r.Extra.StateProof) != 0 {
		return nil, nil, errors.New("a receipt of a transaction has no state proof")
	}
	if err := checkMeta(tx, r.Extra); err != nil {
		return nil, nil, err
	}
	var values []Value
	for i, shown := range r.Extra.Operations {
		if i > 0 && shown.Position <= r.Extra.Operations[i-1].Position {
			return nil, nil, errors.New("positions do not ascend")
		}
		path := make([]Hash, 0, len(shown.Path))
		for _, p := range shown.Path {
			if len(p) != 32 {
				return nil, nil, errors.New("a hash of a path has not 32 bytes")
			}
			path = append(path, Hash(p))
		}
		position, count := uint64(shown.Position), uint64(tx.OpCount)
		if err := Inclusion(LeafHash(shown.Operation), position, count, path, tx.OpsRoot); err != nil {
			return nil, nil, fmt.Errorf("operation %d: %w", position, err)
		}
		value, err := shown.value(r.Index)
		if err != nil {
			return nil, nil, err
		}
		values = append(values, *value)
	}
	return tx, values, nil
}

func checkMeta(tx *TransactionLeaf, extra *Extra) error {
	if len(extra.MetaSalt) == 0 && len(extra.Meta) == 0 {
		return nil
	}
	if len(extra.MetaSalt) != 16 || MetaDigest(extra.MetaSalt, extra.Meta) != tx.MetaDigest {
		return errors.New("the meta is not that of the leaf")
	}
	return nil
}

// value reads a revealed operation with its contents, where they are shown.
func (s *Revealed) value(index uint64) (*Value, error) {
	op, err := ParseOperation(s.Operation)
	if err != nil {
		return nil, err
	}
	value := &Value{Index: index, Operation: op}
	if len(s.Salt) == 0 {
		if len(s.Attributes) != 0 || len(s.Value) != 0 {
			return nil, errors.New("contents are there without their salt")
		}
		return value, nil
	}
	if len(s.Salt) != 16 {
		return nil, errors.New("a salt has 16 bytes")
	}
	value.Shown, value.Value = true, s.Value
	return value, op.opens(s.Salt, s.Attributes, s.Value)
}

// VerifyState checks a receipt of state for a query: the newest write of every key that the query is about, with
// its contents where they are shown.
func (r *Receipt) VerifyState(size uint64, root Hash, query Query) (*CommitLeaf, []Value, error) {
	leaf, err := ParseLeaf(r.Extra.Leaf)
	if err != nil {
		return nil, nil, err
	}
	commit, ok := leaf.(*CommitLeaf)
	if !ok {
		return nil, nil, errors.New("the leaf is not a commit leaf")
	}
	if err := Inclusion(LeafHash(r.Extra.Leaf), r.Index, size, r.Path, root); err != nil {
		return nil, nil, err
	}
	switch {
	case r.Index != size-1:
		return nil, nil, errors.New("a receipt of state is of the last leaf")
	case commit.FirstIndex+uint64(commit.TxCount) != r.Index || commit.FirstIndex > r.Index:
		return nil, nil, errors.New("the commit leaf belongs elsewhere")
	case len(r.Extra.Meta) != 0 || len(r.Extra.MetaSalt) != 0:
		return nil, nil, errors.New("a receipt of state has no meta")
	}
	leaves, revealed, err := verifyState(commit.StateRoot, query, r.Extra.StateProof)
	if err != nil {
		return nil, nil, err
	}
	shown, err := r.shown(revealed)
	if err != nil {
		return nil, nil, err
	}
	var values []Value
	for _, leaf := range leaves {
		if value := shown[string(leaf.Operation)]; value != nil {
			value.Index = leaf.Index
			values = append(values, *value)
			continue
		}
		op, err := ParseOperation(leaf.Operation)
		if err != nil {
			return nil, nil, err
		}
		values = append(values, Value{Index: leaf.Index, Operation: op})
	}
	return commit, values, nil
}

// shown reads the operations of a receipt of state: each with its contents, of a put that the proof reveals, in order.
func (r *Receipt) shown(revealed []StateLeaf) (map[string]*Value, error) {
	shown := map[string]*Value{}
	for i := range r.Extra.Operations {
		operation := &r.Extra.Operations[i]
		if operation.Position != 0 || len(operation.Path) != 0 {
			return nil, errors.New("an operation of a receipt of state has no place")
		}
		for len(revealed) > 0 && !equal(revealed[0].Operation, operation.Operation) {
			revealed = revealed[1:]
		}
		if len(revealed) == 0 {
			return nil, errors.New("an operation is shown that the state proof does not reveal, or out of order")
		}
		value, err := operation.value(revealed[0].Index)
		if err != nil {
			return nil, err
		}
		if !value.Shown {
			return nil, errors.New("an operation of a receipt of state has its contents")
		}
		shown[string(operation.Operation)], revealed = value, revealed[1:]
	}
	return shown, nil
}

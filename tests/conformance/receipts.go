package main

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"

	"filippo.io/torchwood"
	"golang.org/x/mod/sumdb/tlog"
	"quorate.dev/conformance/formats"
)

// checkReceipts verifies every receipt with torchwood and the policy, and what is in it with formats.
func checkReceipts(out *outcome, cases *Cases, keys *keys) {
	for _, receipt := range cases.Receipts {
		out.must("torchwood", "receipt: "+receipt.Name, byTorchwood(receipt, keys))
		out.must("formats", "receipt: "+receipt.Name, byFormats(receipt, keys))
		lines := strings.Split(receipt.File, "\n")
		for n, line := range lines {
			if line == "" {
				continue
			}
			bad := receipt
			bad.File = hurtLine(receipt.File, n)
			// Whoever reads receipts needs both: the file is C2SP's, what is in its extra line is Quorate's.
			err := errors.Join(byTorchwood(bad, keys), byFormats(bad, keys))
			out.mustNot("both", fmt.Sprintf("receipt: %s, line %d altered", receipt.Name, n+1), err)
		}
		plantExtra(out, receipt, keys)
	}
	for n, receipt := range cases.Receipts {
		other := cases.Receipts[(n+1)%len(cases.Receipts)]
		if other.File == receipt.File {
			continue
		}
		swapped := other
		swapped.Key, swapped.Value = receipt.Key, receipt.Value
		out.mustNot("formats", "receipt: "+other.Name+", given for "+receipt.Name, byFormats(swapped, keys))
	}
}

// plantExtra alters single characters all over the extra line: contents, salts, paths, operations, proofs.
func plantExtra(out *outcome, receipt Receipt, keys *keys) {
	lines := strings.Split(receipt.File, "\n")
	const places = 40
	refused := 0
	for place := range places {
		line := []byte(lines[1])
		at := len("extra ") + (len(line)-len("extra ")-4)*place/places
		if line[at] == 'A' {
			line[at] = 'B'
		} else {
			line[at] = 'A'
		}
		bad := receipt
		changed := append([]string(nil), lines...)
		changed[1] = string(line)
		bad.File = strings.Join(changed, "\n")
		if byFormats(bad, keys) != nil {
			refused++
		}
	}
	what := fmt.Sprintf("receipt: %s, extra line altered at %d places", receipt.Name, places)
	if refused != places {
		out.mustNot("formats", fmt.Sprintf("%s: %d accepted", what, places-refused), nil)
		return
	}
	out.mustNot("formats", what, errors.New("all refused"))
}

// byTorchwood takes the leaf from the extra line, which torchwood leaves to the application, and has the rest verified.
func byTorchwood(receipt Receipt, keys *keys) error {
	extra, err := torchwood.ProofExtraData([]byte(receipt.File))
	if err != nil {
		return err
	}
	parsed, err := formats.ParseExtra(extra)
	if err != nil {
		return err
	}
	return torchwood.VerifyProof(keys.policy, tlog.RecordHash(parsed.Leaf), []byte(receipt.File))
}

// byFormats has only the note verified by torchwood, and compares what the receipt shows with what it must.
func byFormats(receipt Receipt, keys *keys) error {
	parsed, err := formats.ParseReceipt(receipt.File)
	if err != nil {
		return err
	}
	checkpoint, _, err := torchwood.VerifyCheckpoint([]byte(parsed.Note), keys.policy)
	if err != nil {
		return err
	}
	key, err := hex.DecodeString(receipt.Key)
	if err != nil {
		return err
	}
	size, root := uint64(checkpoint.N), formats.Hash(checkpoint.Hash)
	leaf, err := formats.ParseLeaf(parsed.Extra.Leaf)
	if err != nil {
		return err
	}
	var values []formats.Value
	switch leaf.(type) {
	case *formats.TransactionLeaf:
		if receipt.Value == nil {
			return errors.New("a receipt of a transaction proves no absence")
		}
		_, values, err = parsed.VerifyTransaction(size, root)
	case *formats.CommitLeaf:
		_, values, err = parsed.VerifyState(size, root, formats.KeyQuery(key))
	default:
		err = errors.New("a leaf of an unknown kind")
	}
	if err != nil {
		return err
	}
	return shows(values, key, receipt.Value)
}

// shows compares what was verified with what the client was told.
func shows(values []formats.Value, key []byte, want *string) error {
	for _, value := range values {
		if !bytes.Equal(value.Operation.Key, key) {
			continue
		}
		if want == nil && value.Operation.Kind == formats.Delete {
			return nil
		}
		if want == nil || !value.Shown || hex.EncodeToString(value.Value) != *want {
			return errors.New("it shows another value")
		}
		return nil
	}
	if want != nil {
		return errors.New("it does not show the key")
	}
	return nil
}

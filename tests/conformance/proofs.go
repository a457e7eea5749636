package main

import (
	"encoding/hex"
	"errors"
	"fmt"
	"strings"

	"filippo.io/torchwood"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
	"quorate.dev/conformance/formats"
)

// checkNotes opens every note with every key, and with the policy.
func checkNotes(out *outcome, cases *Cases, keys *keys) {
	var notes []string
	for _, proof := range cases.Inclusion {
		notes = append(notes, proof.Note)
	}
	for _, proof := range cases.Consistency {
		notes = append(notes, proof.Old, proof.New)
	}
	for n, text := range notes {
		what := fmt.Sprintf("note %d", n+1)
		out.must("note", what+" by every key", openWithAll(text, keys))
		_, _, err := torchwood.VerifyCheckpoint([]byte(text), keys.policy)
		out.must("torchwood", what+" by the policy", err)
	}
	text := notes[0]
	for n, name := range []string{"origin", "size", "root"} {
		bad := hurtLine(text, n)
		out.mustNot("note", "a note with another "+name, openWithAll(bad, keys))
		_, _, err := torchwood.VerifyCheckpoint([]byte(bad), keys.policy)
		out.mustNot("torchwood", "a note with another "+name, err)
	}
	for _, key := range keys.all() {
		bad := hurtLine(text, lineOf(text, key.verifier.Name()))
		out.mustNot("note", "an altered signature by "+key.name, openWithAll(bad, keys))
		_, _, err := torchwood.VerifyCheckpoint([]byte(bad), keys.policy)
		out.mustNot("torchwood", "an altered signature by "+key.name, err)
	}
	kept := text[:strings.Index(text, "\n\n")+2]
	for _, name := range []string{keys.log.verifier.Name(), keys.cosigners[0].verifier.Name()} {
		kept += strings.Split(text, "\n")[lineOf(text, name)] + "\n"
	}
	_, _, err := torchwood.VerifyCheckpoint([]byte(kept), keys.policy)
	out.mustNot("torchwood", "a note with one cosignature", err)
}

// openWithAll opens a note with golang.org/x/mod: a signature of every key must be there. A node that was slow may be
// missing from the newest note, so one cosigner may.
func openWithAll(text string, keys *keys) error {
	var verifiers []note.Verifier
	for _, key := range keys.all() {
		verifiers = append(verifiers, key.verifier)
	}
	opened, err := note.Open([]byte(text), note.VerifierList(verifiers...))
	if err != nil {
		return err
	}
	if len(opened.Sigs) < len(verifiers)-1 {
		return fmt.Errorf("%d signatures of %d keys", len(opened.Sigs), len(verifiers))
	}
	checkpoint, err := torchwood.ParseCheckpoint(opened.Text)
	if err != nil {
		return err
	}
	if checkpoint.Origin != keys.origin || checkpoint.Extension != "" {
		return errors.New("another origin, or extension lines")
	}
	return nil
}

// checkProofs checks inclusion and consistency proofs, each with tlog and with formats.
func checkProofs(out *outcome, cases *Cases, keys *keys) {
	for n, proof := range cases.Inclusion {
		what := fmt.Sprintf("inclusion of leaf %d", proof.Index)
		out.must("tlog", what, inclusion(proof, keys))
		bad := proof
		bad.Leaf = hurtHex(proof.Leaf)
		out.mustNot("tlog", what+", another leaf", inclusion(bad, keys))
		bad = proof
		bad.Index ^= 1
		out.mustNot("tlog", what+", another index", inclusion(bad, keys))
		for i := range proof.Path {
			bad = proof
			bad.Path = append([]string(nil), proof.Path...)
			bad.Path[i] = hurtHex(bad.Path[i])
			out.mustNot("tlog", fmt.Sprintf("%s, hash %d altered", what, i), inclusion(bad, keys))
		}
		if other := cases.Inclusion[(n+1)%len(cases.Inclusion)]; other.Leaf != proof.Leaf {
			bad = proof
			bad.Leaf = other.Leaf
			out.mustNot("tlog", what+", the leaf of another", inclusion(bad, keys))
		}
	}
	for _, proof := range cases.Consistency {
		what := "consistency " + sizes(proof)
		out.must("tlog", what, consistency(proof, keys))
		for i := range proof.Path {
			bad := proof
			bad.Path = append([]string(nil), proof.Path...)
			bad.Path[i] = hurtHex(bad.Path[i])
			out.mustNot("tlog", fmt.Sprintf("%s, hash %d altered", what, i), consistency(bad, keys))
		}
		short := proof
		short.Path = proof.Path[:len(proof.Path)-1]
		out.mustNot("tlog", what+", a hash short", consistency(short, keys))
		swapped := Consistency{Old: proof.New, New: proof.Old, Path: proof.Path}
		out.mustNot("tlog", what+", the other way round", consistency(swapped, keys))
	}
}

func sizes(proof Consistency) string {
	size := func(text string) string { return strings.SplitN(text, "\n", 3)[1] }
	return size(proof.Old) + " → " + size(proof.New)
}

// both gives the verdict on which two independent implementations must agree.
func both(tlog, own error) error {
	if (tlog == nil) != (own == nil) {
		panic(fmt.Sprintf("tlog says %v, formats says %v", tlog, own))
	}
	return tlog
}

func inclusion(proof Inclusion, keys *keys) error {
	checkpoint, _, err := torchwood.VerifyCheckpoint([]byte(proof.Note), keys.policy)
	if err != nil {
		return err
	}
	leaf, err := hex.DecodeString(proof.Leaf)
	if err != nil {
		return err
	}
	path, own, err := hashes(proof.Path)
	if err != nil {
		return err
	}
	return both(
		tlog.CheckRecord(path, checkpoint.N, checkpoint.Hash, proof.Index, tlog.RecordHash(leaf)),
		formats.Inclusion(formats.LeafHash(leaf), uint64(proof.Index), uint64(checkpoint.N), own,
			formats.Hash(checkpoint.Hash)),
	)
}

func consistency(proof Consistency, keys *keys) error {
	old, _, err := torchwood.VerifyCheckpoint([]byte(proof.Old), keys.policy)
	if err != nil {
		return err
	}
	newer, _, err := torchwood.VerifyCheckpoint([]byte(proof.New), keys.policy)
	if err != nil {
		return err
	}
	path, own, err := hashes(proof.Path)
	if err != nil {
		return err
	}
	return both(
		tlog.CheckTree(path, newer.N, newer.Hash, old.N, old.Hash),
		formats.Consistency(uint64(old.N), formats.Hash(old.Hash), uint64(newer.N), formats.Hash(newer.Hash), own),
	)
}

func hashes(texts []string) ([]tlog.Hash, []formats.Hash, error) {
	var theirs []tlog.Hash
	var own []formats.Hash
	for _, text := range texts {
		b, err := hex.DecodeString(text)
		if err != nil || len(b) != tlog.HashSize {
			return nil, nil, errors.New("no hash")
		}
		theirs, own = append(theirs, tlog.Hash(b)), append(own, formats.Hash(b))
	}
	return theirs, own, nil
}

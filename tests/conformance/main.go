// Command conformance checks a cluster with tools that its authors did not write: Tessera's fsck on the tiles,
// golang.org/x/mod's note and tlog on checkpoints and proofs, torchwood on receipts with a policy; and what C2SP does
// not specify with the package formats, which was written from docs/formats.md alone.
//
//	conformance CASES.json
//
// CASES.json says where the nodes are, and holds what a client was given (see Cases). Everything is checked as it is,
// and must be accepted; then again with one altered byte, of each thing in turn, and must be refused. It ends with 0
// only if both is so.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"strings"
)

// Cases is what a client was given by a cluster.
type Cases struct {
	Ledger string   `json:"ledger"`
	Nodes  []string `json:"nodes"`
	Policy string   `json:"policy"`
	// Proofs that the interface of the nodes gave.
	Inclusion   []Inclusion   `json:"inclusion"`
	Consistency []Consistency `json:"consistency"`
	Receipts    []Receipt     `json:"receipts"`
}

// Inclusion is a leaf with its path under a note; bytes in hex.
type Inclusion struct {
	Index int64    `json:"index"`
	Leaf  string   `json:"leaf"`
	Path  []string `json:"path"`
	Note  string   `json:"note"`
}

// Consistency is a path between the trees of two notes.
type Consistency struct {
	Old  string   `json:"old"`
	New  string   `json:"new"`
	Path []string `json:"path"`
}

// Receipt is a file, and what it must show of a key: a value in hex, or null for none.
type Receipt struct {
	Name  string  `json:"name"`
	File  string  `json:"file"`
	Key   string  `json:"key"`
	Value *string `json:"value"`
}

// outcome counts what was as it must be, and lists what was not.
type outcome struct {
	green, red int
	wrong      []string
}

// must says that an honest thing was accepted, or not.
func (o *outcome) must(tool, what string, err error) {
	if err != nil {
		o.wrong = append(o.wrong, fmt.Sprintf("%s refuses %s: %v", tool, what, err))
		fmt.Printf("WRONG  %-9s %-52s %v\n", tool, what, err)
		return
	}
	o.green++
	fmt.Printf("green  %-9s %s\n", tool, what)
}

// mustNot says that an altered thing was refused, or not.
func (o *outcome) mustNot(tool, what string, err error) {
	if err == nil {
		o.wrong = append(o.wrong, fmt.Sprintf("%s accepts %s", tool, what))
		fmt.Printf("WRONG  %-9s %-52s accepted\n", tool, what)
		return
	}
	o.red++
	said := strings.Join(strings.Fields(err.Error()), " ")
	if len(said) > 90 {
		said = said[:90] + "…"
	}
	fmt.Printf("red    %-9s %-52s %s\n", tool, what, said)
}

func main() {
	flag.Parse()
	if flag.NArg() != 1 {
		fmt.Fprintln(os.Stderr, "usage: conformance CASES.json")
		os.Exit(2)
	}
	text, err := os.ReadFile(flag.Arg(0))
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	cases := &Cases{}
	if err := json.Unmarshal(text, cases); err != nil {
		fmt.Fprintln(os.Stderr, "CASES.json:", err)
		os.Exit(2)
	}
	keys, err := readKeys(cases.Policy)
	if err != nil {
		fmt.Fprintln(os.Stderr, "the policy:", err)
		os.Exit(2)
	}
	out := &outcome{}
	checkTiles(out, cases, keys)
	checkNotes(out, cases, keys)
	checkProofs(out, cases, keys)
	checkReceipts(out, cases, keys)
	fmt.Printf("%d checks green, %d altered things refused, %d wrong\n", out.green, out.red, len(out.wrong))
	if len(out.wrong) > 0 || out.green == 0 || out.red == 0 {
		os.Exit(1)
	}
}

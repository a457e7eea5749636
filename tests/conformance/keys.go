package main

import (
	"errors"
	"strings"

	"filippo.io/torchwood"
	f_note "github.com/transparency-dev/formats/note"
	"golang.org/x/mod/sumdb/note"
)

// key is a key of the policy as two independent implementations read it.
type key struct {
	name string
	// golang.org/x/mod for the log, torchwood for cosigners.
	verifier note.Verifier
	// The one that comes with Tessera.
	tessera note.Verifier
}

// keys are those of a policy.
type keys struct {
	origin    string
	log       key
	cosigners []key
	policy    torchwood.Policy
}

// all are the log key and the cosigners.
func (k *keys) all() []key { return append([]key{k.log}, k.cosigners...) }

// readKeys reads a policy line by line, and with torchwood.
func readKeys(text string) (*keys, error) {
	policy, err := torchwood.ParsePolicy([]byte(text))
	if err != nil {
		return nil, err
	}
	k := &keys{policy: policy}
	for line := range strings.Lines(text) {
		fields := strings.Fields(line)
		switch {
		case len(fields) >= 2 && fields[0] == "log":
			verifier, err := note.NewVerifier(fields[1])
			if err != nil {
				return nil, err
			}
			tessera, err := f_note.NewVerifier(fields[1])
			if err != nil {
				return nil, err
			}
			k.origin = verifier.Name()
			k.log = key{"the log key", verifier, tessera}
		case len(fields) >= 3 && fields[0] == "witness":
			verifier, err := torchwood.NewCosignatureVerifier(fields[2])
			if err != nil {
				return nil, err
			}
			tessera, err := f_note.NewVerifierForCosignatureV1(fields[2])
			if err != nil {
				return nil, err
			}
			k.cosigners = append(k.cosigners, key{"the key of " + fields[1], verifier, tessera})
		}
	}
	if k.origin == "" || len(k.cosigners) == 0 {
		return nil, errors.New("it must have a log and cosigners")
	}
	return k, nil
}

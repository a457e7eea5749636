package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"sort"
	"strings"
	"time"

	"filippo.io/torchwood"
	"github.com/transparency-dev/merkle/rfc6962"
	"github.com/transparency-dev/tessera/api"
	"github.com/transparency-dev/tessera/client"
	"github.com/transparency-dev/tessera/fsck"
	"golang.org/x/mod/sumdb/note"
)

// limit bounds each check.
const limit = 20 * time.Second

// checkTiles runs Tessera's fsck against every node with every key, and torchwood's client over all entries.
func checkTiles(out *outcome, cases *Cases, keys *keys) {
	for n, node := range cases.Nodes {
		for _, key := range keys.all() {
			what := fmt.Sprintf("tiles of node %d, checkpoint by %s", n+1, key.name)
			out.must("fsck", what, runFsck(node, cases.Ledger, keys.origin, key.tessera))
		}
		out.must("torchwood", fmt.Sprintf("every entry of node %d", n+1), readEntries(node, cases.Ledger, keys))
	}
	plantTiles(out, cases, keys)
}

// plantTiles alters, in turn, each thing that fsck asks for.
func plantTiles(out *outcome, cases *Cases, keys *keys) {
	node := cases.Nodes[0]
	recorder := newProxy(node, "", nil)
	err := runFsck(recorder.URL, cases.Ledger, keys.origin, keys.log.tessera)
	recorder.Close()
	out.must("fsck", "the same through a proxy that alters nothing", err)
	var paths []string
	for path := range recorder.seen {
		paths = append(paths, path)
	}
	sort.Strings(paths)
	for _, path := range paths {
		if strings.HasSuffix(path, "/checkpoint") {
			plantCheckpoint(out, cases, keys, path, string(recorder.seen[path]))
			continue
		}
		for _, place := range []int{0, 50, 100} {
			what := fmt.Sprintf("%s, a bit flipped at %d %%", path, place)
			out.mustNot("fsck", what, fsckAltered(cases, keys.origin, path, keys.log.tessera, flipAt(place)))
		}
		cut := func(b []byte) []byte { return b[:len(b)-1] }
		out.mustNot("fsck", path+", a byte short", fsckAltered(cases, keys.origin, path, keys.log.tessera, cut))
	}
}

// plantCheckpoint alters each line of the text of a checkpoint, and each signature for whoever goes by it.
func plantCheckpoint(out *outcome, cases *Cases, keys *keys, path, text string) {
	for n, name := range []string{"origin", "size", "root"} {
		alter := func(b []byte) []byte { return []byte(hurtLine(string(b), n)) }
		what := "a checkpoint with another " + name
		out.mustNot("fsck", what, fsckAltered(cases, keys.origin, path, keys.log.tessera, alter))
	}
	for _, key := range keys.all() {
		line := lineOf(text, key.verifier.Name())
		alter := func(b []byte) []byte { return []byte(hurtLine(string(b), line)) }
		what := "a checkpoint with an altered signature by " + key.name
		out.mustNot("fsck", what, fsckAltered(cases, keys.origin, path, key.tessera, alter))
	}
}

// lineOf is the number of the line of a note that this name signed.
func lineOf(text, name string) int {
	for n, line := range strings.Split(text, "\n") {
		if strings.HasPrefix(line, "— "+name+" ") {
			return n
		}
	}
	panic("no signature by " + name + " in\n" + text)
}

func fsckAltered(cases *Cases, origin, path string, verifier note.Verifier, alter func([]byte) []byte) error {
	proxy := newProxy(cases.Nodes[0], path, alter)
	defer proxy.Close()
	return runFsck(proxy.URL, cases.Ledger, origin, verifier)
}

func runFsck(node, ledger, origin string, verifier note.Verifier) error {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	base, err := url.Parse(node + "/" + ledger + "/")
	if err != nil {
		return err
	}
	fetcher, err := client.NewHTTPFetcher(base, nil)
	if err != nil {
		return err
	}
	return fsck.New(origin, verifier, fetcher, leafHashes, fsck.Opts{N: 2}).Check(ctx)
}

// leafHashes reads a bundle of entries as Tessera does.
func leafHashes(bundle []byte) ([][]byte, error) {
	entries := &api.EntryBundle{}
	if err := entries.UnmarshalText(bundle); err != nil {
		return nil, err
	}
	var hashes [][]byte
	for _, entry := range entries.Entries {
		hashes = append(hashes, rfc6962.DefaultHasher.HashLeaf(entry))
	}
	return hashes, nil
}

// readEntries reads the whole log through torchwood, which authenticates each tile against the checkpoint.
func readEntries(node, ledger string, keys *keys) error {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	fetcher, err := torchwood.NewTileFetcher(node + "/" + ledger)
	if err != nil {
		return err
	}
	checkpoint, err := fetchCheckpoint(node, ledger, keys)
	if err != nil {
		return err
	}
	reader, err := torchwood.NewClient(fetcher)
	if err != nil {
		return err
	}
	read := int64(0)
	for index, entry := range reader.AllEntries(ctx, checkpoint.Tree, 0) {
		if index != read || len(entry) == 0 {
			return fmt.Errorf("entry %d where %d should be", index, read)
		}
		read++
	}
	if err := reader.Err(); err != nil {
		return err
	}
	if read != checkpoint.N {
		return fmt.Errorf("%d entries of %d", read, checkpoint.N)
	}
	return nil
}

// fetchCheckpoint reads the newest checkpoint of a node, and certifies it by the policy.
func fetchCheckpoint(node, ledger string, keys *keys) (torchwood.Checkpoint, error) {
	answer, err := http.Get(node + "/" + ledger + "/checkpoint")
	if err != nil {
		return torchwood.Checkpoint{}, err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		return torchwood.Checkpoint{}, err
	}
	checkpoint, _, err := torchwood.VerifyCheckpoint(bytes.Clone(text), keys.policy)
	return checkpoint, err
}

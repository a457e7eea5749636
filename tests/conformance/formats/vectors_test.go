package formats

import (
	"crypto/ed25519"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"filippo.io/torchwood"
)

// The golden vectors, as far as this package reads them.
type vectors struct {
	ClusterID string `json:"cluster_id"`
	LogKey    struct {
		Vkey string `json:"vkey"`
	} `json:"log_key"`
	Cosigners []struct {
		Vkey string `json:"vkey"`
	} `json:"cosigners"`
	BlockKey struct {
		Public string `json:"public"`
	} `json:"block_key"`
	Blocks         []vectorBlock  `json:"blocks"`
	Expect         []vectorExpect `json:"expect"`
	FinalStateRoot string         `json:"final_state_root"`
	StateProofs    []struct {
		Kind, First, Proof string
		End                *string
		Result             []struct {
			Index uint64
			Op    string
		}
	} `json:"state_proofs"`
	LogTree struct {
		Size      uint64
		Root      string
		Inclusion []struct {
			Index uint64
			Path  []string
		}
		Consistency []struct {
			OldSize uint64 `json:"old_size"`
			OldRoot string `json:"old_root"`
			Path    []string
		}
	} `json:"log_tree"`
	Receipt        string                     `json:"receipt"`
	AbsenceReceipt struct{ Key, File string } `json:"absence_receipt"`
	Deep           struct{ Root string }      `json:"deep"`
}

type vectorBlock struct {
	Time, Epoch uint64
	Txs         []struct {
		Author         string
		IdempotencyKey string `json:"idempotency_key"`
		NotAfter       uint64 `json:"not_after"`
		Meta           string
		MetaSalt       string `json:"meta_salt"`
		Ops            []vectorOp
	}
}

type vectorOp struct {
	Kind, Key, Value, Attributes, Salt string
	ExpiresAt                          uint64 `json:"expires_at"`
	Revision                           uint64
}

type vectorExpect struct {
	Transactions []struct {
		Leaf string
	}
	Commit      struct{ Leaf string }
	LogRoot     string `json:"log_root"`
	Size        uint64
	SignedBlock struct {
		Term, Height              uint64
		Previous, Body, Signature string
		Hash                      string `json:"block_hash"`
	} `json:"signed_block"`
}

func unhex(t *testing.T, text string) []byte {
	t.Helper()
	b, err := hex.DecodeString(text)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func unhash(t *testing.T, text string) Hash { return Hash(unhex(t, text)) }

func unhashes(t *testing.T, texts []string) []Hash {
	var hashes []Hash
	for _, text := range texts {
		hashes = append(hashes, unhash(t, text))
	}
	return hashes
}

func each(t *testing.T, check func(t *testing.T, v *vectors)) {
	t.Helper()
	files, err := filepath.Glob("../../../core/tests/vectors/ledger-*.json")
	if err != nil || len(files) != 3 {
		t.Fatalf("three vectors: %v, %v", files, err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			v := &vectors{}
			if err := json.Unmarshal(text, v); err != nil {
				t.Fatal(err)
			}
			check(t, v)
		})
	}
}

// The blocks, applied as the document says: every leaf, every root, every state root.
func TestBlocksGiveTheLeavesAndRoots(t *testing.T) {
	each(t, func(t *testing.T, v *vectors) {
		var log []Hash
		state, now := map[string]StateLeaf{}, uint64(0)
		written := map[string]uint64{}
		seen := map[Hash]bool{}
		for n, block := range v.Blocks {
			now = max(now, block.Time)
			first, count := uint64(len(log)), 0
			expect := v.Expect[n]
			for _, tx := range block.Txs {
				id := RequestID(tx.Author, unhex(t, tx.IdempotencyKey))
				if seen[id] {
					continue
				}
				index := uint64(len(log))
				operations, encoded, ok := apply(t, state, written, tx.Ops)
				if !ok {
					continue
				}
				seen[id] = true
				for i, op := range operations {
					if op.Kind != Erase {
						state[string(op.Key)] = StateLeaf{index, encoded[i]}
						written[fmt.Sprintf("%x %d", op.Key, op.Revision)] = index
					}
				}
				leaf := TransactionLeaf{
					Time: now, NotAfter: tx.NotAfter, OpCount: uint32(len(operations)), OpsRoot: LogRoot(leafHashes(encoded)),
					RequestID: id, MetaDigest: MetaDigest(unhex(t, tx.MetaSalt), unhex(t, tx.Meta)),
				}
				if want := expect.Transactions[count].Leaf; hex.EncodeToString(leaf.Encode()) != want {
					t.Fatalf("block %d: leaf %x, expected %s", n, leaf.Encode(), want)
				}
				log, count = append(log, LeafHash(leaf.Encode())), count+1
			}
			if count != len(expect.Transactions) {
				t.Fatalf("block %d: %d transactions, expected %d", n, count, len(expect.Transactions))
			}
			commit := CommitLeaf{now, first, uint32(count), StateRoot(leavesOf(state)), block.Epoch}
			if hex.EncodeToString(commit.Encode()) != expect.Commit.Leaf {
				t.Fatalf("block %d: commit leaf %x, expected %s", n, commit.Encode(), expect.Commit.Leaf)
			}
			log = append(log, LeafHash(commit.Encode()))
			if uint64(len(log)) != expect.Size || LogRoot(log) != unhash(t, expect.LogRoot) {
				t.Fatalf("block %d: another root at size %d", n, len(log))
			}
		}
		if StateRoot(leavesOf(state)) != unhash(t, v.FinalStateRoot) {
			t.Fatal("another final state root")
		}
	})
}

// apply makes a transaction's operations of what was asked for; false if it must be rejected.
func apply(t *testing.T, state map[string]StateLeaf, written map[string]uint64, asked []vectorOp) ([]*Operation, [][]byte, bool) {
	var operations []*Operation
	var encoded [][]byte
	for _, ask := range asked {
		key := unhex(t, ask.Key)
		op := &Operation{Revision: 1, PrevIndex: None, Key: key}
		before, exists := state[string(key)]
		var last *Operation
		if exists {
			last, _ = ParseOperation(before.Operation)
			op.Revision, op.PrevIndex = last.Revision+1, before.Index
		}
		switch ask.Kind {
		case "put":
			op.Kind, op.ExpiresAt = Put, ask.ExpiresAt
			op.ValueLen = uint32(len(unhex(t, ask.Value)))
			op.ValueDigest = ValueDigest(unhex(t, ask.Salt), unhex(t, ask.Attributes), unhex(t, ask.Value))
		case "delete":
			op.Kind = Delete
			if !exists || last.Kind == Delete {
				return nil, nil, false
			}
		case "erase":
			index, known := written[fmt.Sprintf("%x %d", key, ask.Revision)]
			if !known {
				return nil, nil, false
			}
			op.Kind, op.Revision, op.PrevIndex = Erase, ask.Revision, index
		default:
			t.Fatalf("an operation of kind %q", ask.Kind)
		}
		operations, encoded = append(operations, op), append(encoded, op.Encode())
		if back, err := ParseOperation(op.Encode()); err != nil || string(back.Encode()) != string(op.Encode()) {
			t.Fatalf("an operation does not read as it was written: %v", err)
		}
	}
	return operations, encoded, true
}

func leavesOf(state map[string]StateLeaf) []StateLeaf {
	var leaves []StateLeaf
	for _, leaf := range state {
		leaves = append(leaves, leaf)
	}
	return leaves
}

func leafHashes(leaves [][]byte) []Hash {
	var hashes []Hash
	for _, leaf := range leaves {
		hashes = append(hashes, LeafHash(leaf))
	}
	return hashes
}

func TestStateProofs(t *testing.T) {
	each(t, func(t *testing.T, v *vectors) {
		root := unhash(t, v.FinalStateRoot)
		for n, p := range v.StateProofs {
			query := KeyQuery(unhex(t, p.First))
			switch p.Kind {
			case "prefix":
				query = PrefixQuery(unhex(t, p.First))
			case "range":
				query = RangeQuery(unhex(t, p.First), nil)
				if p.End != nil {
					query = RangeQuery(unhex(t, p.First), unhex(t, *p.End))
				}
			}
			proof := unhex(t, p.Proof)
			answer, err := VerifyState(root, query, proof)
			if err != nil {
				t.Fatalf("proof %d (%s %s): %v", n, p.Kind, p.First, err)
			}
			if len(answer) != len(p.Result) {
				t.Fatalf("proof %d: %d keys, expected %d", n, len(answer), len(p.Result))
			}
			for i, leaf := range answer {
				if leaf.Index != p.Result[i].Index || hex.EncodeToString(leaf.Operation) != p.Result[i].Op {
					t.Fatalf("proof %d: key %d is another", n, i)
				}
			}
			// One flipped bit in each byte is refused, and every proof cut short.
			for i := range proof {
				bad := append([]byte(nil), proof...)
				bad[i] ^= 1 << (i % 8)
				if _, err := VerifyState(root, query, bad); err == nil {
					t.Fatalf("proof %d with a flipped bit in byte %d is accepted", n, i)
				}
				if _, err := VerifyState(root, query, proof[:i]); err == nil {
					t.Fatalf("proof %d cut to %d bytes is accepted", n, i)
				}
			}
		}
	})
}

func TestLogProofs(t *testing.T) {
	each(t, func(t *testing.T, v *vectors) {
		var leaves []Hash
		for _, block := range v.Expect {
			for _, tx := range block.Transactions {
				leaves = append(leaves, LeafHash(unhex(t, tx.Leaf)))
			}
			leaves = append(leaves, LeafHash(unhex(t, block.Commit.Leaf)))
		}
		root := unhash(t, v.LogTree.Root)
		for _, p := range v.LogTree.Inclusion {
			path := unhashes(t, p.Path)
			if err := Inclusion(leaves[p.Index], p.Index, v.LogTree.Size, path, root); err != nil {
				t.Fatalf("inclusion of %d: %v", p.Index, err)
			}
			if Inclusion(leaves[p.Index], p.Index+1, v.LogTree.Size, path, root) == nil {
				t.Fatalf("inclusion of %d holds at the next index", p.Index)
			}
		}
		for _, p := range v.LogTree.Consistency {
			old, path := unhash(t, p.OldRoot), unhashes(t, p.Path)
			if err := Consistency(p.OldSize, old, v.LogTree.Size, root, path); err != nil {
				t.Fatalf("consistency from %d: %v", p.OldSize, err)
			}
			old[0] ^= 1
			if Consistency(p.OldSize, old, v.LogTree.Size, root, path) == nil {
				t.Fatalf("consistency from %d holds for another root", p.OldSize)
			}
		}
	})
}

func TestBlockHashesAndSignatures(t *testing.T) {
	each(t, func(t *testing.T, v *vectors) {
		key, cluster := ed25519.PublicKey(unhex(t, v.BlockKey.Public)), unhex(t, v.ClusterID)
		for n, expect := range v.Expect {
			b := expect.SignedBlock
			hash := BlockHash(cluster, b.Term, b.Height, unhash(t, b.Previous), hash(unhex(t, b.Body)))
			if hash != unhash(t, b.Hash) {
				t.Fatalf("block %d has another hash", n)
			}
			if err := VerifyBlock(key, hash, unhex(t, b.Signature)); err != nil {
				t.Fatalf("block %d: %v", n, err)
			}
			other := BlockHash(cluster, b.Term, b.Height+1, unhash(t, b.Previous), Hash{})
			if VerifyBlock(key, other, unhex(t, b.Signature)) == nil {
				t.Fatalf("the signature of block %d holds for another", n)
			}
		}
	})
}

// The receipts: the note by torchwood and a policy, the rest by this package.
func TestReceipts(t *testing.T) {
	each(t, func(t *testing.T, v *vectors) {
		text := "log " + v.LogKey.Vkey + "\n"
		group := "group nodes 2"
		for i, cosigner := range v.Cosigners {
			name := string(rune('a' + i))
			text += "witness " + name + " " + cosigner.Vkey + "\n"
			group += " " + name
		}
		policy, err := torchwood.ParsePolicy([]byte(text + group + "\nquorum nodes\n"))
		if err != nil {
			t.Fatal(err)
		}
		certify := func(file string) (*Receipt, uint64, Hash) {
			receipt, err := ParseReceipt(file)
			if err != nil {
				t.Fatal(err)
			}
			checkpoint, _, err := torchwood.VerifyCheckpoint([]byte(receipt.Note), policy)
			if err != nil {
				t.Fatal(err)
			}
			return receipt, uint64(checkpoint.N), Hash(checkpoint.Hash)
		}
		receipt, size, root := certify(v.Receipt)
		leaf, values, err := receipt.VerifyTransaction(size, root)
		if err != nil {
			t.Fatal(err)
		}
		if len(values) == 0 || len(values) > int(leaf.OpCount) || !values[0].Shown {
			t.Fatalf("%d values of %d operations", len(values), leaf.OpCount)
		}
		receipt, size, root = certify(v.AbsenceReceipt.File)
		_, values, err = receipt.VerifyState(size, root, KeyQuery(unhex(t, v.AbsenceReceipt.Key)))
		if err != nil || len(values) != 0 {
			t.Fatalf("the absence: %v, %d values", err, len(values))
		}
		if _, _, err := receipt.VerifyState(size, root, PrefixQuery(nil)); err == nil {
			t.Fatal("a receipt about one key answers for all")
		}
	})
}

// The keys "a" × 1 to 1,024, each extending the last.
func TestDeepTree(t *testing.T) {
	each(t, func(t *testing.T, v *vectors) {
		var leaves []StateLeaf
		key := make([]byte, 1024)
		for i := range key {
			key[i] = 'a'
			op := Operation{Kind: Put, Revision: 1, PrevIndex: None, Key: key[:i+1]}
			op.ValueDigest = ValueDigest(make([]byte, 16), nil, nil)
			leaves = append(leaves, StateLeaf{uint64(i), op.Encode()})
		}
		if StateRoot(leaves) != unhash(t, v.Deep.Root) {
			t.Fatal("another root")
		}
	})
}

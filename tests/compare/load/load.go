// Package load is what the load generators of the comparison share: so many calls under way at any time over shared
// connections, each awaited, as "quorate bench" has them; and the report of it, one JSON object.
package load

import (
	"encoding/json"
	"fmt"
	"log"
	"math/rand"
	"os"
	"slices"
	"sync"
	"time"
)

// Key is one of those that are there before and are read: 16 bytes.
func Key(number int) string { return fmt.Sprintf("bench/%010d", number) }

// NewKey is anywhere in the key space, and 16 bytes long, as those of "quorate bench" are.
func NewKey() string { return fmt.Sprintf("%016x", rand.Uint64()) }

// Each runs one goroutine per client, and waits for all.
func Each[C any](connections []C, clients int, do func(connection C, client int)) {
	var all sync.WaitGroup
	for client := range clients {
		all.Go(func() { do(connections[client%len(connections)], client) })
	}
	all.Wait()
}

// Measure has every client make one call after the other, each of so many operations, and prints what came of it. A
// call that fails ends the program.
func Measure[C any](connections []C, clients int, duration time.Duration, operations int, call func(C) error) {
	var lock sync.Mutex
	var took []time.Duration
	end := time.Now().Add(duration)
	Each(connections, clients, func(connection C, _ int) {
		var mine []time.Duration
		for time.Now().Before(end) {
			begin := time.Now()
			if err := call(connection); err != nil {
				log.Fatal(err)
			}
			mine = append(mine, time.Since(begin))
		}
		lock.Lock()
		defer lock.Unlock()
		took = append(took, mine...)
	})
	if len(took) == 0 {
		log.Fatal("no call ended in the measured time")
	}
	slices.Sort(took)
	at := func(percent int) int64 { return took[(len(took)-1)*percent/100].Microseconds() }
	Print(map[string]any{
		"operations":            len(took) * operations,
		"operations_per_second": float64(len(took)*operations) / duration.Seconds(),
		"p50_us":                at(50),
		"p99_us":                at(99),
		"max_us":                at(100),
	})
}

// Print writes a document to standard output.
func Print(document map[string]any) {
	if err := json.NewEncoder(os.Stdout).Encode(document); err != nil {
		log.Fatal(err)
	}
}

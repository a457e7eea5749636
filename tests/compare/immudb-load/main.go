// Immudb-load puts immudb under the load that "quorate bench" puts Quorate under, with immudb's own client.
package main

import (
	"context"
	"crypto/rand"
	"flag"
	"fmt"
	"log"
	mathrand "math/rand"
	"os"
	"time"

	"github.com/codenotary/immudb/pkg/api/schema"
	immudb "github.com/codenotary/immudb/pkg/client"

	"quorate.dev/compare/load"
)

// batch is how many keys a call of SetAll writes.
const batch = 1000

func main() {
	port := flag.Int("port", 3322, "where the primary is, on 127.0.0.1")
	state := flag.String("state", "", "folder for what the clients believe")
	what := flag.String("what", "set", "set, verified-set: new keys; verified-get: of the keys that fill wrote; "+
		"batch: 1,000 new keys a call; fill")
	clients := flag.Int("clients", 64, "calls under way at any time")
	connections := flag.Int("connections", 4, "sessions, each with a connection")
	keys := flag.Int("keys", 100_000, "keys that fill writes and verified-get reads")
	valueBytes := flag.Int("value-bytes", 256, "length of a value")
	duration := flag.Duration("duration", 5*time.Second, "how long to measure")
	flag.Parse()
	value := make([]byte, *valueBytes)
	if _, err := rand.Read(value); err != nil {
		log.Fatal(err)
	}
	var all []immudb.ImmuClient
	for number := range *connections {
		all = append(all, connect(*port, fmt.Sprintf("%s/%d", *state, number)))
	}
	measure := func(operations int, call func(c immudb.ImmuClient) error) {
		load.Measure(all, *clients, *duration, operations, call)
	}
	ctx := context.Background()
	switch *what {
	case "fill":
		for first := 0; first < *keys; first += batch {
			if err := setAll(ctx, all[0], value, func(n int) string { return load.Key(first + n) }); err != nil {
				log.Fatal(err)
			}
		}
	case "set":
		measure(1, func(c immudb.ImmuClient) error {
			_, err := c.Set(ctx, []byte(load.NewKey()), value)
			return err
		})
	case "verified-set":
		measure(1, func(c immudb.ImmuClient) error {
			_, err := c.VerifiedSet(ctx, []byte(load.NewKey()), value)
			return err
		})
	case "verified-get":
		measure(1, func(c immudb.ImmuClient) error {
			_, err := c.VerifiedGet(ctx, []byte(load.Key(mathrand.Intn(*keys))))
			return err
		})
	case "batch":
		measure(batch, func(c immudb.ImmuClient) error {
			return setAll(ctx, c, value, func(int) string { return load.NewKey() })
		})
	default:
		log.Fatalf("-what %s: set, verified-set, verified-get, batch or fill", *what)
	}
}

func connect(port int, state string) immudb.ImmuClient {
	if err := os.MkdirAll(state, 0o700); err != nil {
		log.Fatal(err)
	}
	options := immudb.DefaultOptions().WithAddress("127.0.0.1").WithPort(port).WithDir(state)
	client := immudb.NewClient().WithOptions(options)
	if err := client.OpenSession(context.Background(), []byte("immudb"), []byte("immudb"), "defaultdb"); err != nil {
		log.Fatal(err)
	}
	return client
}

func setAll(ctx context.Context, c immudb.ImmuClient, value []byte, key func(n int) string) error {
	request := &schema.SetRequest{}
	for n := range batch {
		request.KVs = append(request.KVs, &schema.KeyValue{Key: []byte(key(n)), Value: value})
	}
	_, err := c.SetAll(ctx, request)
	return err
}

// Etcd-load puts etcd under the load that "quorate bench" puts Quorate under: so many calls under way at any time,
// shared connections, values of one length, each call awaited. It prints one JSON object.
package main

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"flag"
	"fmt"
	"log"
	mathrand "math/rand"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"go.etcd.io/etcd/client/pkg/v3/transport"
	clientv3 "go.etcd.io/etcd/client/v3"
)

type load struct {
	connections []*clientv3.Client
	clients     int
	keys        int
	value       string
}

func main() {
	endpoints := flag.String("endpoints", "", "where the members are, separated by commas")
	authority := flag.String("cacert", "", "certificate of the authority behind the members' certificates (PEM)")
	what := flag.String("what", "put", "put: new keys; get: linearizable reads of the keys that fill wrote; fill; retry: put by one client, "+
		"over and over until it is done; leader: who leads")
	clients := flag.Int("clients", 64, "calls under way at any time")
	connections := flag.Int("connections", 4, "clients of the library, each with a connection to every member")
	keys := flag.Int("keys", 100_000, "keys that fill writes and get reads")
	valueBytes := flag.Int("value-bytes", 256, "length of a value")
	duration := flag.Duration("duration", 5*time.Second, "how long to measure")
	flag.Parse()
	value := make([]byte, *valueBytes)
	if _, err := rand.Read(value); err != nil {
		log.Fatal(err)
	}
	l := load{clients: *clients, keys: *keys, value: string(value)}
	for range *connections {
		l.connections = append(l.connections, connect(*endpoints, *authority))
	}
	switch *what {
	case "fill":
		l.fill()
	case "put":
		run := time.Now().UnixNano()
		l.measure(*duration, func(c *clientv3.Client, client, call int) error {
			_, err := c.Put(context.Background(), fmt.Sprintf("%x/%d/%08d", run, client, call), l.value)
			return err
		})
	case "retry":
		// One client that goes on when a leader is gone: its longest call is how long nobody could write.
		l.clients = 1
		run := time.Now().UnixNano()
		l.measure(*duration, func(c *clientv3.Client, _, call int) error {
			return retried(c, fmt.Sprintf("%x/retry/%08d", run, call), l.value)
		})
	case "leader":
		l.leader(strings.Split(*endpoints, ","))
	case "get":
		l.measure(*duration, func(c *clientv3.Client, _, _ int) error {
			_, err := c.Get(context.Background(), key(mathrand.Intn(l.keys)))
			return err
		})
	default:
		log.Fatalf("-what %s: put, get, fill, retry or leader", *what)
	}
}

func key(number int) string { return fmt.Sprintf("bench/%010d", number) }

func connect(endpoints, authority string) *clientv3.Client {
	config := clientv3.Config{Endpoints: strings.Split(endpoints, ","), DialTimeout: 5 * time.Second}
	if authority != "" {
		tls, err := transport.TLSInfo{TrustedCAFile: authority}.ClientConfig()
		if err != nil {
			log.Fatal(err)
		}
		config.TLS = tls
	}
	client, err := clientv3.New(config)
	if err != nil {
		log.Fatal(err)
	}
	return client
}

// attempt is how long one attempt of a retried call may take.
const attempt = 500 * time.Millisecond

// retried puts a value until a member says that it is done.
func retried(c *clientv3.Client, key, value string) error {
	var err error
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		ctx, cancel := context.WithTimeout(context.Background(), attempt)
		_, err = c.Put(ctx, key, value)
		cancel()
		if err == nil {
			return nil
		}
	}
	return err
}

// leader prints the endpoint of the member that says that it leads.
func (l load) leader(endpoints []string) {
	found := ""
	for _, endpoint := range endpoints {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		status, err := l.connections[0].Status(ctx, endpoint)
		cancel()
		if err == nil && status.Leader == status.Header.MemberId {
			found = endpoint
		}
	}
	if err := json.NewEncoder(os.Stdout).Encode(map[string]any{"endpoint": found}); err != nil {
		log.Fatal(err)
	}
}

// each runs one goroutine per client.
func (l load) each(do func(c *clientv3.Client, client int)) {
	var all sync.WaitGroup
	for client := range l.clients {
		all.Go(func() { do(l.connections[client%len(l.connections)], client) })
	}
	all.Wait()
}

func (l load) fill() {
	l.each(func(c *clientv3.Client, client int) {
		for number := client; number < l.keys; number += l.clients {
			if _, err := c.Put(context.Background(), key(number), l.value); err != nil {
				log.Fatal(err)
			}
		}
	})
}

func (l load) measure(duration time.Duration, call func(c *clientv3.Client, client, call int) error) {
	var lock sync.Mutex
	var took []time.Duration
	end := time.Now().Add(duration)
	l.each(func(c *clientv3.Client, client int) {
		var mine []time.Duration
		for number := 0; time.Now().Before(end); number++ {
			begin := time.Now()
			if err := call(c, client, number); err != nil {
				log.Fatal(err)
			}
			mine = append(mine, time.Since(begin))
		}
		lock.Lock()
		took = append(took, mine...)
		lock.Unlock()
	})
	if len(took) == 0 {
		log.Fatal("no call ended in the measured time")
	}
	slices.Sort(took)
	at := func(percent int) int64 { return took[(len(took)-1)*percent/100].Microseconds() }
	result := map[string]any{
		"operations":            len(took),
		"operations_per_second": float64(len(took)) / duration.Seconds(),
		"p50_us":                at(50),
		"p99_us":                at(99),
		"max_us":                at(100),
	}
	if err := json.NewEncoder(os.Stdout).Encode(result); err != nil {
		log.Fatal(err)
	}
}

// Etcd-load puts etcd under the load that "quorate bench" puts Quorate under, with etcd's own client.
package main

import (
	"context"
	"crypto/rand"
	"flag"
	"log"
	mathrand "math/rand"
	"strings"
	"time"

	"go.etcd.io/etcd/client/pkg/v3/transport"
	clientv3 "go.etcd.io/etcd/client/v3"

	"quorate.dev/compare/load"
)

func main() {
	endpoints := flag.String("endpoints", "", "where the members are, separated by commas")
	authority := flag.String("cacert", "", "certificate of the authority behind the members' certificates (PEM)")
	what := flag.String("what", "put", "put: new keys; get: linearizable reads of the keys that fill wrote; fill; retry: put, "+
		"each over and over until it is done; leader: who leads")
	clients := flag.Int("clients", 64, "calls under way at any time")
	connections := flag.Int("connections", 4, "clients of the library, each with a connection to every member")
	keys := flag.Int("keys", 100_000, "keys that fill writes and get reads")
	valueBytes := flag.Int("value-bytes", 256, "length of a value")
	duration := flag.Duration("duration", 5*time.Second, "how long to measure")
	flag.Parse()
	bytes := make([]byte, *valueBytes)
	if _, err := rand.Read(bytes); err != nil {
		log.Fatal(err)
	}
	value := string(bytes)
	var all []*clientv3.Client
	for range *connections {
		all = append(all, connect(*endpoints, *authority))
	}
	measure := func(call func(c *clientv3.Client) error) { load.Measure(all, *clients, *duration, 1, call) }
	switch *what {
	case "fill":
		fill(all, *clients, *keys, value)
	case "put":
		measure(func(c *clientv3.Client) error {
			_, err := c.Put(context.Background(), load.NewKey(), value)
			return err
		})
	case "retry":
		// Clients that go on when a member is gone. Of one client, the longest call is how long nobody could write.
		measure(func(c *clientv3.Client) error { return retried(c, load.NewKey(), value) })
	case "get":
		measure(func(c *clientv3.Client) error {
			_, err := c.Get(context.Background(), load.Key(mathrand.Intn(*keys)))
			return err
		})
	case "leader":
		load.Print(map[string]any{"endpoint": leader(all[0], strings.Split(*endpoints, ","))})
	default:
		log.Fatalf("-what %s: put, get, fill, retry or leader", *what)
	}
}

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

func fill(connections []*clientv3.Client, clients, keys int, value string) {
	load.Each(connections, clients, func(c *clientv3.Client, client int) {
		for number := client; number < keys; number += clients {
			if _, err := c.Put(context.Background(), load.Key(number), value); err != nil {
				log.Fatal(err)
			}
		}
	})
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

// leader is the endpoint of the member that says that it leads; empty if none does.
func leader(c *clientv3.Client, endpoints []string) string {
	for _, endpoint := range endpoints {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		status, err := c.Status(ctx, endpoint)
		cancel()
		if err == nil && status.Leader == status.Header.MemberId {
			return endpoint
		}
	}
	return ""
}

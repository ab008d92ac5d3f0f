// Command recipes runs what etcd's own Go packages build on the API (clientv3/concurrency, leasing, ordering, mirror,
// naming, namespace, and the experimental recipes) against one endpoint, from several clients at a time:
//
//	recipes ENDPOINT [NAME…]
//
// It prints a line per recipe, the same for every server that is as good as etcd, and exits with 1 if one fails.
package main

import (
	"context"
	"fmt"
	"os"
	"slices"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/client/v3/concurrency"
	"go.uber.org/zap"
)

const (
	// More than any recipe takes on a slow machine.
	recipeTimeout = time.Minute
	workers       = 4
)

// A check says in one line what it saw.
type check struct {
	name string
	run  func(ctx context.Context, servers *servers) (string, error)
}

var checks = []check{
	{"mutex", mutex},
	{"try-lock", tryLock},
	{"mutex-cancel", mutexCancel},
	{"orphan", orphan},
	{"rwmutex", rwMutex},
	{"election", election},
	{"stm", stm},
	{"barrier", barrier},
	{"double-barrier", doubleBarrier},
	{"queue", queue},
	{"priority-queue", priorityQueue},
	{"leasing", leased},
	{"ordering", ordered},
	{"mirror", mirrored},
	{"naming", naming},
	{"namespace", namespaced},
}

func main() {
	if len(os.Args) < 2 {
		fmt.Fprintln(os.Stderr, "usage: recipes ENDPOINT [NAME…]")
		os.Exit(2)
	}
	failed := false
	for _, r := range checks {
		if len(os.Args) > 2 && !slices.Contains(os.Args[2:], r.name) {
			continue
		}
		said, err := runOne(r, os.Args[1])
		if err != nil {
			failed = true
			said = "FAILED: " + err.Error()
		}
		fmt.Printf("%s: %s\n", r.name, said)
	}
	if failed {
		os.Exit(1)
	}
}

func runOne(r check, endpoint string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), recipeTimeout)
	defer cancel()
	s := &servers{ctx: ctx, endpoint: endpoint}
	defer s.close()
	return r.run(ctx, s)
}

// servers makes clients, each with a connection of its own, that live as long as one recipe.
type servers struct {
	ctx      context.Context
	endpoint string
	opened   []*clientv3.Client
}

func (s *servers) client() (*clientv3.Client, error) {
	client, err := clientv3.New(clientv3.Config{
		Endpoints:   []string{s.endpoint},
		DialTimeout: 10 * time.Second,
		Context:     s.ctx,
		Logger:      zap.NewNop(),
	})
	if err == nil {
		s.opened = append(s.opened, client)
	}
	return client, err
}

// sessions opens n sessions, each on a client of its own.
func (s *servers) sessions(n int) ([]*concurrency.Session, error) {
	var sessions []*concurrency.Session
	for range n {
		client, err := s.client()
		if err != nil {
			return nil, err
		}
		session, err := concurrency.NewSession(client, concurrency.WithTTL(10))
		if err != nil {
			return nil, err
		}
		sessions = append(sessions, session)
	}
	return sessions, nil
}

func (s *servers) close() {
	for _, client := range s.opened {
		client.Close()
	}
}

// together runs fn for each index at the same time and returns the first error.
func together(n int, fn func(index int) error) error {
	errs := make(chan error, n)
	for index := range n {
		go func() { errs <- fn(index) }()
	}
	var first error
	for range n {
		if err := <-errs; err != nil && first == nil {
			first = err
		}
	}
	return first
}

func expect(ok bool, format string, args ...any) error {
	if ok {
		return nil
	}
	return fmt.Errorf(format, args...)
}

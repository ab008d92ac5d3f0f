package main

import (
	"context"
	"errors"
	"fmt"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/client/v3/leasing"
	"go.etcd.io/etcd/client/v3/mirror"
	"go.etcd.io/etcd/client/v3/namespace"
	"go.etcd.io/etcd/client/v3/naming/endpoints"
	"go.etcd.io/etcd/client/v3/ordering"
)

// leased: two clients keep keys under leases of their own, and each sees what the other wrote.
func leased(ctx context.Context, s *servers) (string, error) {
	var kvs []clientv3.KV
	for range 2 {
		client, err := s.client()
		if err != nil {
			return "", err
		}
		kv, closeLeasing, err := leasing.NewKV(client, "leasing/")
		if err != nil {
			return "", err
		}
		defer closeLeasing()
		kvs = append(kvs, kv)
	}
	for round := range rounds {
		writer, reader := kvs[round%2], kvs[(round+1)%2]
		want := fmt.Sprint(round)
		if _, err := writer.Put(ctx, "leased", want); err != nil {
			return "", err
		}
		for _, kv := range []clientv3.KV{reader, writer} {
			got, err := kv.Get(ctx, "leased")
			if err != nil {
				return "", err
			}
			if err := expect(string(got.Kvs[0].Value) == want, "read %s after %s was written", got.Kvs[0].Value, want); err != nil {
				return "", err
			}
		}
	}
	swapped, err := kvs[0].Txn(ctx).
		If(clientv3.Compare(clientv3.Value("leased"), "=", fmt.Sprint(rounds-1))).
		Then(clientv3.OpDelete("leased"), clientv3.OpGet("leased")).
		Commit()
	if err != nil {
		return "", err
	}
	gone, err := kvs[1].Get(ctx, "leased")
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%d writes seen by both; deleted: %v; left: %d", rounds, swapped.Succeeded, len(gone.Kvs)), nil
}

// ordered: no answer is older than one that came before it.
func ordered(ctx context.Context, s *servers) (string, error) {
	client, err := s.client()
	if err != nil {
		return "", err
	}
	kv := ordering.NewKV(client.KV, func(op clientv3.Op, resp clientv3.OpResponse, prevRev int64) error {
		return errors.New("an answer is older than the one before it")
	})
	for range rounds {
		if _, err := client.Put(ctx, "ordered", "x"); err != nil {
			return "", err
		}
		if _, err := kv.Get(ctx, "ordered"); err != nil {
			return "", err
		}
		if _, err := kv.Get(ctx, "ordered", clientv3.WithSerializable()); err != nil {
			return "", err
		}
		if _, err := kv.Txn(ctx).Then(clientv3.OpGet("ordered")).Commit(); err != nil {
			return "", err
		}
	}
	return "every answer as new as the one before", nil
}

// mirrored: a copy of a prefix is complete, and follows it.
func mirrored(ctx context.Context, s *servers) (string, error) {
	client, err := s.client()
	if err != nil {
		return "", err
	}
	// More than the syncer takes with one Range.
	const keys = 1200
	for first := 0; first < keys; first += 100 {
		var puts []clientv3.Op
		for index := first; index < first+100; index++ {
			puts = append(puts, clientv3.OpPut(fmt.Sprintf("mirror/%04d", index), "x"))
		}
		if _, err := client.Txn(ctx).Then(puts...).Commit(); err != nil {
			return "", err
		}
	}
	syncer := mirror.NewSyncer(client, "mirror/", 0)
	base, failures := syncer.SyncBase(ctx)
	copied := 0
	for page := range base {
		copied += len(page.Kvs)
	}
	if err := <-failures; err != nil {
		return "", err
	}
	updates := syncer.SyncUpdates(ctx)
	if _, err := client.Put(ctx, "mirror/0007", "y"); err != nil {
		return "", err
	}
	if _, err := client.Delete(ctx, "mirror/0008"); err != nil {
		return "", err
	}
	var seen []string
	for len(seen) < 2 {
		for _, event := range (<-updates).Events {
			seen = append(seen, fmt.Sprintf("%s %s", event.Type, event.Kv.Key))
		}
	}
	return fmt.Sprintf("%d keys, then %v", copied, seen), nil
}

// naming: endpoints of a service are registered, listed, watched and taken away.
func naming(ctx context.Context, s *servers) (string, error) {
	client, err := s.client()
	if err != nil {
		return "", err
	}
	manager, err := endpoints.NewManager(client, "service")
	if err != nil {
		return "", err
	}
	watching, stop := context.WithCancel(ctx)
	defer stop()
	changes, err := manager.NewWatchChannel(watching)
	if err != nil {
		return "", err
	}
	lease, err := client.Grant(ctx, 60)
	if err != nil {
		return "", err
	}
	err = errors.Join(
		manager.AddEndpoint(ctx, "service/a", endpoints.Endpoint{Addr: "a.example:1"}, clientv3.WithLease(lease.ID)),
		manager.AddEndpoint(ctx, "service/b", endpoints.Endpoint{Addr: "b.example:1", Metadata: "spare"}),
	)
	if err != nil {
		return "", err
	}
	listed, err := manager.List(ctx)
	if err != nil {
		return "", err
	}
	_, err = client.Revoke(ctx, lease.ID)
	if err := errors.Join(err, manager.DeleteEndpoint(ctx, "service/b")); err != nil {
		return "", err
	}
	var seen []string
	for len(seen) < 4 {
		for _, change := range <-changes {
			seen = append(seen, fmt.Sprintf("%d %s", change.Op, change.Key))
		}
	}
	return fmt.Sprintf("%d listed; %v", len(listed), seen), nil
}

// namespaced: the same key in two namespaces is two keys; so are their leases and watches.
func namespaced(ctx context.Context, s *servers) (string, error) {
	client, err := s.client()
	if err != nil {
		return "", err
	}
	kvs := []clientv3.KV{namespace.NewKV(client.KV, "one/"), namespace.NewKV(client.KV, "two/")}
	events := namespace.NewWatcher(client.Watcher, "two/").Watch(ctx, "", clientv3.WithPrefix(), clientv3.WithCreatedNotify())
	<-events
	for index, kv := range kvs {
		if _, err := kv.Put(ctx, "key", fmt.Sprint(index)); err != nil {
			return "", err
		}
	}
	all, err := kvs[0].Get(ctx, "", clientv3.WithPrefix())
	if err != nil {
		return "", err
	}
	event := (<-events).Events[0].Kv
	return fmt.Sprintf("%d key in one: %s; watched in two: %s=%s", all.Count, all.Kvs[0].Key, event.Key, event.Value), nil
}

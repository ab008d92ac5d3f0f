package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/client/v3/concurrency"
	recipes "go.etcd.io/etcd/client/v3/experimental/recipes"
)

const (
	rounds = 5
	// Long enough for a waiter to be in its queue; nothing is wrong if it is not.
	aMoment = 100 * time.Millisecond
)

// addOne reads a counter and writes it back in two calls: only a lock keeps others out in between.
func addOne(ctx context.Context, client *clientv3.Client, key string) error {
	got, err := client.Get(ctx, key)
	if err != nil {
		return err
	}
	count := 0
	if len(got.Kvs) > 0 {
		count, _ = strconv.Atoi(string(got.Kvs[0].Value))
	}
	_, err = client.Put(ctx, key, strconv.Itoa(count+1))
	return err
}

func valueOf(ctx context.Context, client *clientv3.Client, key string) (string, error) {
	got, err := client.Get(ctx, key)
	if err != nil || len(got.Kvs) == 0 {
		return "", err
	}
	return string(got.Kvs[0].Value), nil
}

func mutex(ctx context.Context, s *servers) (string, error) {
	sessions, err := s.sessions(workers)
	if err != nil {
		return "", err
	}
	err = together(workers, func(index int) error {
		m := concurrency.NewMutex(sessions[index], "mutex")
		for range rounds {
			if err := m.Lock(ctx); err != nil {
				return err
			}
			client := sessions[index].Client()
			owned, err := client.Txn(ctx).If(m.IsOwner()).Commit()
			if err := errors.Join(err, expect(err == nil && owned.Succeeded, "not the owner of the lock it holds")); err != nil {
				return err
			}
			if err := errors.Join(addOne(ctx, client, "mutex-count"), m.Unlock(ctx)); err != nil {
				return err
			}
		}
		return sessions[index].Close()
	})
	if err != nil {
		return "", err
	}
	client, err := s.client()
	if err != nil {
		return "", err
	}
	count, err := valueOf(ctx, client, "mutex-count")
	return fmt.Sprintf("%d sessions counted to %s", workers, count), err
}

func tryLock(ctx context.Context, s *servers) (string, error) {
	sessions, err := s.sessions(2)
	if err != nil {
		return "", err
	}
	holder := concurrency.NewMutex(sessions[0], "try")
	other := concurrency.NewMutex(sessions[1], "try")
	if err := holder.TryLock(ctx); err != nil {
		return "", err
	}
	refused := other.TryLock(ctx)
	// The end of the holder's session gives the lock up.
	if err := sessions[0].Close(); err != nil {
		return "", err
	}
	if err := other.TryLock(ctx); err != nil {
		return "", err
	}
	return fmt.Sprintf("%v; then locked", refused), nil
}

// mutexCancel: a waiter that gives up leaves the queue, so the one behind it gets the lock.
func mutexCancel(ctx context.Context, s *servers) (string, error) {
	sessions, err := s.sessions(3)
	if err != nil {
		return "", err
	}
	holder := concurrency.NewMutex(sessions[0], "cancel")
	if err := holder.Lock(ctx); err != nil {
		return "", err
	}
	waiting, giveUp := context.WithTimeout(ctx, aMoment)
	defer giveUp()
	gaveUp := concurrency.NewMutex(sessions[1], "cancel").Lock(waiting)
	third := make(chan error, 1)
	go func() { third <- concurrency.NewMutex(sessions[2], "cancel").Lock(ctx) }()
	if err := holder.Unlock(ctx); err != nil {
		return "", err
	}
	if err := <-third; err != nil {
		return "", err
	}
	left, err := sessions[0].Client().Get(ctx, "cancel/", clientv3.WithPrefix(), clientv3.WithCountOnly())
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%v; the next one locked; %d in the queue", gaveUp, left.Count), nil
}

// orphan: a session that is orphaned keeps its lock until its lease ends by itself.
func orphan(ctx context.Context, s *servers) (string, error) {
	client, err := s.client()
	if err != nil {
		return "", err
	}
	session, err := concurrency.NewSession(client, concurrency.WithTTL(1))
	if err != nil {
		return "", err
	}
	m := concurrency.NewMutex(session, "orphan")
	if err := m.Lock(ctx); err != nil {
		return "", err
	}
	session.Orphan()
	held, err := client.Get(ctx, m.Key())
	if err != nil {
		return "", err
	}
	others, err := s.sessions(1)
	if err != nil {
		return "", err
	}
	if err := concurrency.NewMutex(others[0], "orphan").Lock(ctx); err != nil {
		return "", err
	}
	ttl, err := client.TimeToLive(ctx, session.Lease())
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%d key held; locked by another when TTL was %d", len(held.Kvs), ttl.TTL), nil
}

func rwMutex(ctx context.Context, s *servers) (string, error) {
	sessions, err := s.sessions(workers)
	if err != nil {
		return "", err
	}
	first, second := recipes.NewRWMutex(sessions[0], "rw"), recipes.NewRWMutex(sessions[1], "rw")
	if err := errors.Join(first.RLock(), second.RLock()); err != nil {
		return "", err
	}
	written := make(chan error, 1)
	go func() { written <- recipes.NewRWMutex(sessions[2], "rw").Lock() }()
	select {
	case <-written:
		return "", errors.New("a writer got in beside two readers")
	case <-time.After(aMoment):
	}
	if err := errors.Join(first.RUnlock(), second.RUnlock(), <-written, sessions[2].Close()); err != nil {
		return "", err
	}
	err = together(2, func(index int) error {
		m := recipes.NewRWMutex(sessions[index], "rw")
		for range rounds {
			if err := errors.Join(m.Lock(), addOne(ctx, sessions[index].Client(), "rw-count"), m.Unlock()); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return "", err
	}
	count, err := valueOf(ctx, sessions[3].Client(), "rw-count")
	return "two readers, then writers counted to " + count, err
}

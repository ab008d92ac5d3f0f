package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	recipes "go.etcd.io/etcd/client/v3/experimental/recipes"
)

// barrier: everybody waits at it until it is released.
func barrier(_ context.Context, s *servers) (string, error) {
	client, err := s.client()
	if err != nil {
		return "", err
	}
	held := recipes.NewBarrier(client, "barrier")
	if err := held.Hold(); err != nil {
		return "", err
	}
	again := held.Hold()
	passed := make(chan error, 1)
	other, err := s.client()
	if err != nil {
		return "", err
	}
	go func() { passed <- recipes.NewBarrier(other, "barrier").Wait() }()
	select {
	case <-passed:
		return "", errors.New("somebody passed a barrier that is held")
	case <-time.After(aMoment):
	}
	if err := errors.Join(held.Release(), <-passed); err != nil {
		return "", err
	}
	return fmt.Sprintf("held (again: %v), released, passed", again), nil
}

// doubleBarrier: nobody is past Enter before all are there, and nobody past Leave before all want to go.
func doubleBarrier(_ context.Context, s *servers) (string, error) {
	sessions, err := s.sessions(workers)
	if err != nil {
		return "", err
	}
	err = together(workers, func(index int) error {
		b := recipes.NewDoubleBarrier(sessions[index], "double", workers)
		return errors.Join(b.Enter(), b.Leave())
	})
	return fmt.Sprintf("%d entered and left", workers), err
}

// queue: what several producers put in comes out once each.
func queue(_ context.Context, s *servers) (string, error) {
	items := make(chan string, workers*rounds)
	err := together(workers, func(index int) error {
		client, err := s.client()
		if err != nil {
			return err
		}
		q := recipes.NewQueue(client, "queue")
		for round := range rounds {
			if err := q.Enqueue(fmt.Sprintf("%d.%d", index, round)); err != nil {
				return err
			}
		}
		for range rounds {
			item, err := q.Dequeue()
			if err != nil {
				return err
			}
			items <- item
		}
		return nil
	})
	if err != nil {
		return "", err
	}
	close(items)
	var taken []string
	for item := range items {
		taken = append(taken, item)
	}
	slices.Sort(taken)
	return strings.Join(slices.Compact(taken), " "), nil
}

// priorityQueue: the lowest number comes out first.
func priorityQueue(_ context.Context, s *servers) (string, error) {
	client, err := s.client()
	if err != nil {
		return "", err
	}
	q := recipes.NewPriorityQueue(client, "priorities")
	for _, priority := range []uint16{3, 1, 2, 1} {
		if err := q.Enqueue(fmt.Sprint(priority), priority); err != nil {
			return "", err
		}
	}
	var taken []string
	for range 4 {
		item, err := q.Dequeue()
		if err != nil {
			return "", err
		}
		taken = append(taken, item)
	}
	return strings.Join(taken, " "), nil
}

package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"go.etcd.io/etcd/client/v3/concurrency"
)

// election: of three candidates each leads in turn, and an observer sees what every leader said last.
func election(ctx context.Context, s *servers) (string, error) {
	sessions, err := s.sessions(4)
	if err != nil {
		return "", err
	}
	watching, stop := context.WithCancel(ctx)
	defer stop()
	observed := concurrency.NewElection(sessions[3], "election").Observe(watching)
	_, none := concurrency.NewElection(sessions[3], "election").Leader(ctx)

	first := concurrency.NewElection(sessions[0], "election")
	if err := first.Campaign(ctx, "one"); err != nil {
		return "", err
	}
	seen := []string{none.Error(), string((<-observed).Kvs[0].Value)}
	second := make(chan error, 1)
	go func() { second <- concurrency.NewElection(sessions[1], "election").Campaign(ctx, "two") }()
	if err := first.Proclaim(ctx, "one again"); err != nil {
		return "", err
	}
	seen = append(seen, string((<-observed).Kvs[0].Value))

	resumed := concurrency.ResumeElection(sessions[0], "election/", first.Key(), first.Rev())
	if err := errors.Join(resumed.Proclaim(ctx, "one resumed"), resumed.Resign(ctx)); err != nil {
		return "", err
	}
	seen = append(seen, string((<-observed).Kvs[0].Value))
	if err := errors.Join(<-second, expectNotLeader(first.Proclaim(ctx, "late"))); err != nil {
		return "", err
	}
	seen = append(seen, string((<-observed).Kvs[0].Value))

	// The leader's session ends, and the one that waits takes over.
	third := make(chan error, 1)
	go func() { third <- concurrency.NewElection(sessions[2], "election").Campaign(ctx, "three") }()
	if err := errors.Join(sessions[1].Close(), <-third); err != nil {
		return "", err
	}
	seen = append(seen, string((<-observed).Kvs[0].Value))
	leader, err := concurrency.NewElection(sessions[3], "election").Leader(ctx)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%s; %s leads", strings.Join(seen, ", "), leader.Kvs[0].Value), nil
}

func expectNotLeader(err error) error {
	return expect(errors.Is(err, concurrency.ErrElectionNotLeader), "proclaimed after it resigned: %v", err)
}

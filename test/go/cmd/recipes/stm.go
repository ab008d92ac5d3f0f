package main

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/client/v3/concurrency"
)

const (
	accounts  = 3
	transfers = 8
	fortune   = 100
)

var isolations = []struct {
	name  string
	level concurrency.Isolation
}{
	{"serializable snapshot", concurrency.SerializableSnapshot},
	{"serializable", concurrency.Serializable},
	{"repeatable reads", concurrency.RepeatableReads},
}

// stm: several clients move money between the same few accounts at once; what there is in all stays.
func stm(ctx context.Context, s *servers) (string, error) {
	var clients []*clientv3.Client
	for range workers {
		client, err := s.client()
		if err != nil {
			return "", err
		}
		clients = append(clients, client)
	}
	var said []string
	for _, isolation := range isolations {
		total, err := moveMoney(ctx, clients, isolation.level)
		if err != nil {
			return "", err
		}
		said = append(said, fmt.Sprintf("%s keeps %d", isolation.name, total))
	}
	return strings.Join(said, ", "), nil
}

func moveMoney(ctx context.Context, clients []*clientv3.Client, level concurrency.Isolation) (int, error) {
	account := func(index int) string { return fmt.Sprintf("stm/%d/%d", level, index%accounts) }
	for index := range accounts {
		if _, err := clients[0].Put(ctx, account(index), strconv.Itoa(fortune)); err != nil {
			return 0, err
		}
	}
	err := together(len(clients), func(worker int) error {
		for transfer := range transfers {
			from, to := account(worker+transfer), account(worker+transfer+1)
			move := func(stm concurrency.STM) error {
				have, _ := strconv.Atoi(stm.Get(from))
				get, _ := strconv.Atoi(stm.Get(to))
				stm.Put(from, strconv.Itoa(have-worker-1))
				stm.Put(to, strconv.Itoa(get+worker+1))
				return nil
			}
			options := []concurrency.STMOption{concurrency.WithAbortContext(ctx), concurrency.WithIsolation(level)}
			if transfer%2 == 0 {
				options = append(options, concurrency.WithPrefetch(from, to))
			}
			if _, err := concurrency.NewSTM(clients[worker], move, options...); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return 0, err
	}
	total := 0
	for index := range accounts {
		value, err := valueOf(ctx, clients[0], account(index))
		if err != nil {
			return 0, err
		}
		amount, _ := strconv.Atoi(value)
		total += amount
	}
	return total, nil
}

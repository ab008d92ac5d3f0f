// Command etcd is etcd 3.7.3, the peer the tests compare our server with.
package main

import (
	"os"

	"go.etcd.io/etcd/server/v3/etcdmain"
)

func main() {
	etcdmain.Main(os.Args)
}

// Command testpod is what the cluster's own tests run in pods: it serves its name over TCP, and asks
// others for theirs.
//
//	testpod serve ADDRESS NAME   answer every connection with NAME until told to stop
//	testpod get ADDRESS          print what the server at ADDRESS answers; exit code 1 if none does
//	testpod write FILE TEXT      write a file
//	testpod read FILE            print a file
package main

import (
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"syscall"
	"time"
)

const patience = 2 * time.Second

func serve(address, name string) error {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM)
	go func() {
		<-stop
		os.Exit(0)
	}()
	for {
		conn, err := listener.Accept()
		if err != nil {
			return err
		}
		fmt.Fprintln(conn, name)
		conn.Close()
	}
}

func get(address string) error {
	conn, err := net.DialTimeout("tcp", address, patience)
	if err != nil {
		return err
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(patience))
	_, err = io.Copy(os.Stdout, conn)
	return err
}

func read(file string) error {
	text, err := os.ReadFile(file)
	fmt.Println(string(text))
	return err
}

func run(args []string) error {
	switch {
	case len(args) == 3 && args[0] == "serve":
		return serve(args[1], args[2])
	case len(args) == 2 && args[0] == "get":
		return get(args[1])
	case len(args) == 3 && args[0] == "write":
		return os.WriteFile(args[1], []byte(args[2]), 0o600)
	case len(args) == 2 && args[0] == "read":
		return read(args[1])
	}
	return fmt.Errorf("usage: testpod serve ADDRESS NAME | get ADDRESS | write FILE TEXT | read FILE")
}

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// Command forward carries TCP connections from the host's loopback into the cluster's network
// namespace, so that nothing of the cluster is ever bound to, or routed by, the host's network.
//
// It listens in the network namespace it is started in (the host's) and dials in the one named by
// -dial-netns. The file -routes says what to listen on, a JSON array:
// [{"listen": "127.0.0.1:30001", "targets": ["198.18.0.11:30001"]}]; it is read again whenever it is
// replaced. Targets are tried in order. A listener that is no longer in the file is closed; its
// connections live on until either side ends them.
package main

import (
	"encoding/json"
	"flag"
	"io"
	"log"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

const dialTimeout = time.Second

type forwarder struct {
	netns, home *os.File
	listeners   map[string]net.Listener
}

type route struct {
	Listen  string   `json:"listen"`
	Targets []string `json:"targets"`
}

// dialIn connects from another network namespace: a socket stays for ever in the namespace that its
// thread was in when it was made.
func dialIn(netns, home *os.File, target string) (net.Conn, error) {
	runtime.LockOSThread()
	if err := unix.Setns(int(netns.Fd()), unix.CLONE_NEWNET); err != nil {
		runtime.UnlockOSThread()
		return nil, err
	}
	conn, dialErr := net.DialTimeout("tcp4", target, dialTimeout)
	if err := unix.Setns(int(home.Fd()), unix.CLONE_NEWNET); err != nil {
		log.Fatalf("cannot return from the cluster's network namespace: %v", err)
	}
	runtime.UnlockOSThread()
	return conn, dialErr
}

func (f *forwarder) dial(targets []string) (conn net.Conn, err error) {
	for _, target := range targets {
		if conn, err = dialIn(f.netns, f.home, target); err == nil {
			return conn, nil
		}
	}
	return nil, err
}

// carry copies both ways (splice(2): the bytes stay in the kernel) and passes half-closes on.
func (f *forwarder) carry(client net.Conn, targets []string) {
	defer client.Close()
	server, err := f.dial(targets)
	if err != nil {
		log.Printf("%v: %v", client.LocalAddr(), err)
		return
	}
	defer server.Close()
	done := make(chan struct{})
	go func() {
		io.Copy(server, client)
		server.(*net.TCPConn).CloseWrite()
		close(done)
	}()
	io.Copy(client, server)
	client.(*net.TCPConn).CloseWrite()
	<-done
}

func (f *forwarder) serve(listener net.Listener, targets []string) {
	for {
		client, err := listener.Accept()
		if err != nil {
			return // closed: no longer wished for
		}
		go f.carry(client, targets)
	}
}

// apply opens and closes listeners until they are the wished ones; a busy port is tried again when
// the file changes next.
func (f *forwarder) apply(wish []route) {
	wanted := map[string]bool{}
	for _, r := range wish {
		wanted[r.Listen] = true
		if f.listeners[r.Listen] != nil {
			continue
		}
		listener, err := net.Listen("tcp4", r.Listen)
		if err != nil {
			log.Printf("cannot listen on %s: %v", r.Listen, err)
			continue
		}
		f.listeners[r.Listen] = listener
		go f.serve(listener, r.Targets)
	}
	for address, listener := range f.listeners {
		if !wanted[address] {
			listener.Close()
			delete(f.listeners, address)
		}
	}
}

func read(path string) ([]route, error) {
	var wish []route
	text, err := os.ReadFile(path)
	if err == nil {
		err = json.Unmarshal(text, &wish)
	}
	return wish, err
}

func open(path string) *os.File {
	file, err := os.Open(path)
	if err != nil {
		log.Fatal(err)
	}
	return file
}

func main() {
	netns := flag.String("dial-netns", "", "network namespace to dial in")
	routes := flag.String("routes", "", "file of routes")
	flag.Parse()
	f := forwarder{open(*netns), open("/proc/self/ns/net"), map[string]net.Listener{}}
	changes, err := unix.InotifyInit1(unix.IN_CLOEXEC)
	if err != nil {
		log.Fatal(err)
	}
	// The directory is watched, not the file: an atomic replacement makes a new file.
	if _, err := unix.InotifyAddWatch(changes, filepath.Dir(*routes), unix.IN_MOVED_TO); err != nil {
		log.Fatalf("cannot watch %s: %v", filepath.Dir(*routes), err)
	}
	events := make([]byte, 64<<10)
	for {
		wish, err := read(*routes)
		if err != nil {
			log.Printf("bad routes: %v", err)
		} else {
			f.apply(wish)
		}
		if _, err := unix.Read(changes, events); err != nil && err != unix.EINTR {
			log.Fatal(err)
		}
	}
}

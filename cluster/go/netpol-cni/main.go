// Command netpol-cni is a chained CNI plugin: it tells the cluster's NetworkPolicy enforcer (a test
// part, cluster/netpol_testpart.py) the address of a new pod and lets the pod start only when its
// rules are in force. So no pod ever runs outside its policies, and none waits for the kubelet to
// report its address.
//
// Source: CNI specification 0.4.0. Configuration: {"socket": "<unix socket of the enforcer>"}.
package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"time"
)

const patience = 10 * time.Second

type config struct {
	CNIVersion string          `json:"cniVersion"`
	Socket     string          `json:"socket"`
	PrevResult json.RawMessage `json:"prevResult"`
}

type result struct {
	IPs []struct {
		Address string `json:"address"`
	} `json:"ips"`
}

func fail(conf config, err error) {
	json.NewEncoder(os.Stdout).Encode(map[string]any{
		"cniVersion": conf.CNIVersion, "code": 11, "msg": "netpol-cni: " + err.Error(),
	})
	os.Exit(1)
}

// arguments are CNI_ARGS, "K8S_POD_NAMESPACE=a;K8S_POD_NAME=b;…", as a map.
func arguments() map[string]string {
	found := map[string]string{}
	for _, pair := range strings.Split(os.Getenv("CNI_ARGS"), ";") {
		if key, value, ok := strings.Cut(pair, "="); ok {
			found[key] = value
		}
	}
	return found
}

func dial(path string) (conn net.Conn, err error) {
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		if conn, err = net.Dial("unix", path); err == nil {
			return conn, nil
		}
	}
	return nil, fmt.Errorf("the NetworkPolicy enforcer does not answer: %w", err)
}

// announce returns when the enforcer says that the pod's rules are in force.
func announce(conf config) error {
	var previous result
	if err := json.Unmarshal(conf.PrevResult, &previous); err != nil || len(previous.IPs) == 0 {
		return fmt.Errorf("no address in prevResult; put this plugin behind the one that gives addresses")
	}
	conn, err := dial(conf.Socket)
	if err != nil {
		return err
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(patience))
	args := arguments()
	address, _, _ := strings.Cut(previous.IPs[0].Address, "/")
	if err := json.NewEncoder(conn).Encode(map[string]string{
		"namespace": args["K8S_POD_NAMESPACE"], "name": args["K8S_POD_NAME"],
		"uid": args["K8S_POD_UID"], "address": address,
	}); err != nil {
		return err
	}
	answer, err := io.ReadAll(conn)
	if err == nil && strings.TrimSpace(string(answer)) != "ok" {
		err = fmt.Errorf("the NetworkPolicy enforcer answered %q", answer)
	}
	return err
}

func main() {
	if os.Getenv("CNI_COMMAND") == "VERSION" {
		fmt.Println(`{"cniVersion": "0.4.0", "supportedVersions": ["0.3.1", "0.4.0", "1.0.0"]}`)
		return
	}
	var conf config
	if err := json.NewDecoder(os.Stdin).Decode(&conf); err != nil {
		fail(conf, err)
	}
	if os.Getenv("CNI_COMMAND") == "ADD" {
		if err := announce(conf); err != nil {
			fail(conf, err)
		}
		os.Stdout.Write(conf.PrevResult)
	}
}

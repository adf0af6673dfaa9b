"""The Kubernetes kernel: a small asynchronous REST client, shared by the operator, magma and the plugin.

Pure transport, no policy. `config` finds a cluster, `client` speaks to it, `resources` knows the URL of every
kind we use, `errors` has one class per HTTP meaning, `lease` is leadership. Nothing is imported here, so that
`from tephra.kube.resources import ...` stays cheap for the plugin. Why not a Kubernetes library: every Python
client measured costs 3 to 20 times the bytes and CPU time per object.
"""

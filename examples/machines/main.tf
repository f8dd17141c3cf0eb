# Two machines on this host, in a network of their own: one serves, the other asks it. Nothing is downloaded.
#
#   cd examples/machines
#   consort tf init && consort tf apply
#   consort machine exec client -- fetch http://server.lab.internal:8080/
#   consort tf destroy

terraform {
  required_providers {
    consort = { source = "consort/consort" }
  }
}

variable "greeting" {
  type    = string
  default = "Hello from a machine"
}

resource "consort_network" "lab" {
  name = "lab"
  cidr = "10.77.0.0/24"
}

resource "consort_machine" "server" {
  name    = "server"
  image   = "consort.dev/toolbox"
  network = consort_network.lab.name
  address = "10.77.0.10"
  command = ["serve", "--text", var.greeting]
  memory  = 64

  port {
    host_port = 8077
    port      = 8080
  }
}

# Runs nothing of its own: it is there for what is executed in it.
resource "consort_machine" "client" {
  name    = "client"
  image   = "consort.dev/toolbox"
  network = consort_network.lab.name
  command = []

  file {
    path    = "/etc/greeting"
    content = "The server is at ${consort_machine.server.address}.\n"
  }
}

output "addresses" {
  value = {
    for machine in [consort_machine.server, consort_machine.client] : machine.name => machine.address
  }
}

output "shell" {
  value = join(" ", concat(consort_machine.client.exec, ["cat", "/etc/greeting"]))
}

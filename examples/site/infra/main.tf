# A machine on this host. What the playbook needs of it, `exec`, is known only when it is there.

terraform {
  required_providers {
    consort = { source = "consort/consort" }
  }
}

variable "root" {
  type        = string
  description = "A directory with a root file system: what debootstrap makes, for example."
}

variable "port" {
  type    = number
  default = 8080
}

resource "consort_network" "site" {
  name = "site"
  cidr = "10.78.0.0/24"
}

resource "consort_machine" "web" {
  name    = "web1"
  root    = var.root
  network = consort_network.site.name
  command = []

  port {
    host_port = 8078
    port      = var.port
  }
}

output "machines" {
  value = {
    (consort_machine.web.name) = {
      address = consort_machine.web.address
      exec    = consort_machine.web.exec
    }
  }
}

output "port" {
  value = var.port
}

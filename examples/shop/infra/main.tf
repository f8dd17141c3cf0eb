# A network of this host with two machines in it that join the cluster as nodes. Nothing is downloaded.

terraform {
  required_providers {
    consort = { source = "consort/consort" }
  }
}

variable "environment" {
  type    = string
  default = "production"
}

resource "consort_network" "shop" {
  name = "shop"
  cidr = "10.78.0.0/24"
}

# Any pod may run here.
resource "consort_machine" "front" {
  name    = "shop-front"
  image   = "consort.dev/toolbox"
  network = consort_network.shop.name
  join    = true
  memory  = 512
  labels  = { environment = var.environment, tier = "front" }
}

# The store keeps its data here: taking this machine away takes the data away.
resource "consort_machine" "store" {
  name    = "shop-store"
  image   = "consort.dev/toolbox"
  network = consort_network.shop.name
  join    = true
  memory  = 512
  labels  = { environment = var.environment, tier = "database" }

  mount {
    target = "/var/lib/store"
  }
}

# Made once, and then kept.
resource "terraform_data" "password" {
  input = sensitive(uuid())

  lifecycle {
    ignore_changes = [input]
  }
}

output "store_node" {
  value = consort_machine.store.name
}

output "store_address" {
  value = consort_machine.store.address
}

output "store_password" {
  value     = terraform_data.password.output
  sensitive = true
}

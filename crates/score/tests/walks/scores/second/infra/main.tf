resource "terraform_data" "network" {
  input            = "10.1.0.0/24"
  triggers_replace = "moved"
}

resource "terraform_data" "machine" {
  count = 3
  input = "${terraform_data.network.output}:${count.index}"
}

output "address" {
  value = terraform_data.machine[0].output
}

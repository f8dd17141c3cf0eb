resource "terraform_data" "network" {
  input = "10.0.0.0/24"
}

resource "terraform_data" "machine" {
  count = 2
  input = "${terraform_data.network.output}:${count.index}"
}

resource "terraform_data" "spare" {
  input = "spare"
}

output "address" {
  value = terraform_data.machine[0].output
}

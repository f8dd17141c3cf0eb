variable "address" {
  type = string
}

resource "terraform_data" "a" {
  input = var.address
}

variable "peer" {
  type = string
}

resource "terraform_data" "p" {
  input = "peer of ${var.peer}"
}

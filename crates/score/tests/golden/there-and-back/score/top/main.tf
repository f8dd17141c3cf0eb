variable "id" {
  type = string
}

resource "terraform_data" "t" {
  input = var.id
}

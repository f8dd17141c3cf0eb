variable "of" {}

resource "terraform_data" "x" {
  input = var.of
}

variable "size" {
  default = "one"
}

resource "terraform_data" "a" {
  input            = var.size
  triggers_replace = [var.size]
}

output "id" {
  value = terraform_data.a.output
}

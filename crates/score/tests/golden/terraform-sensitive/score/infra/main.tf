variable "token" {
  type      = string
  default   = "hidden-value"
  sensitive = true
}

resource "terraform_data" "a" {
  input = { token = var.token, open = "shown" }
}

output "token" {
  value     = var.token
  sensitive = true
}

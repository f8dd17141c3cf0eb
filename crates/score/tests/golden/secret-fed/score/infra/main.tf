resource "terraform_data" "password" {
  input = sensitive("very-secret")
}

output "password" {
  value     = terraform_data.password.output
  sensitive = true
}

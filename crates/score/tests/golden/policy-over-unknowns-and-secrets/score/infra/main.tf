resource "terraform_data" "a" {
  input = "one"
}

output "id" {
  value = terraform_data.a.id
}

output "plain" {
  value = "known"
}

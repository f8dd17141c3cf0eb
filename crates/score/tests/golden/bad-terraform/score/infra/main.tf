resource "terraform_data" "a" {
  input = nope.x
}

output "b" {
  value = terraform_data.b.id
}

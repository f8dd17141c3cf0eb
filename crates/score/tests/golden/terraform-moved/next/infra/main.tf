resource "terraform_data" "b" {
  input = "one"
}

moved {
  from = terraform_data.a
  to   = terraform_data.b
}

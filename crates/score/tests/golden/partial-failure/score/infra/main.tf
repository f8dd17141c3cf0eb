resource "terraform_data" "first" {}

resource "terraform_data" "breaks" {
  input = terraform_data.first.id

  provisioner "local-exec" {
    command = "test -e ${path.module}/mended"
  }
}

resource "terraform_data" "after" {
  input = terraform_data.breaks.id
}

resource "terraform_data" "aside" {}

output "id" {
  value = terraform_data.after.id
}

output "aside" {
  value = terraform_data.aside.id
}

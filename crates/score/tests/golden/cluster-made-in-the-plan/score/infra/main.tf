resource "terraform_data" "cluster" {}

output "kubeconfig" {
  value = terraform_data.cluster.id
}

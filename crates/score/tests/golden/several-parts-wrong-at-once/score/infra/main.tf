output "x" {
  value = local.none
}

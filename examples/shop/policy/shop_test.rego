package shop_test

import data.shop

change(actions, before, after) := {"mode": "apply", "resource_changes": [{
	"address": "app/apps/v1/Deployment/shop/web",
	"type": "apps/v1/Deployment",
	"change": {"actions": actions, "before": before, "after": after},
}]}

deployment(resources) := {"spec": {"replicas": 2, "template": {"spec": {"containers": [{"name": "serve", "resources": resources}]}}}}

test_a_container_needs_a_memory_limit if {
	count(shop.deny) == 1 with input as change(["create"], null, deployment({}))
	count(shop.deny) == 0 with input as change(["create"], null, deployment({"limits": {"memory": "64Mi"}}))
}

test_the_database_machine_stays if {
	count(shop.deny) == 1 with input as change(["delete"], {"labels": {"tier": "database"}}, null)
	count(shop.deny) == 0 with input as change(["delete"], {"labels": {"tier": "front"}}, null)
}

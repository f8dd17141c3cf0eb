# What resources are worth, and how much of that a change puts at stake.
#
# A change has the larger of two numbers of points, and never more than 100:
#
#   worth of the resource            x  `own`:  how much of it the action takes
#   worth of what stands on it       x  `down`: how much of that the action takes with it
#
# This package says what a resource is worth (0 to 100) and what the two shares are (in per cent); what stands on what
# is known from the graph, and `passing` says how much of it reaches over each kind of edge. To judge in another way,
# put a package of this name beside your policies: what it says counts, and where it says nothing this one does. For
# single resources a rule `worth` in any package is enough:
#
#   worth["infra/aws_instance.bastion"] := 5
#
# The input has `resources`, each with
#
#   layer    terraform, manifests, playbook, ...
#   type     aws_instance, apps/v1/Deployment, ansible.builtin.service
#   action   create, update, delete, delete-then-create, create-then-delete, forget, read, no-op
#   pool     how many of its kind stand side by side (count, for_each, web1 web2; hosts that have the same task): 1 if
#            it is alone
#   words    those of `words` below that its address has; of a task's address only the part and the host count
#   labels   those of `labels` below that it is labelled or tagged with, the names in lower case
#   changed  the fields that an update changes: instance_type, tags, spec.template, metadata.labels
#   before   the values of those of `fields` below that it has now, and
#   after    will have
#   irreversible  whether the layer says that what goes cannot come back
#
# and `score`, those of `words` that the name of the score has.
package consort.worth

# --- What is looked for -----------------------------------------------------------------------------------------------

words := {word | some word, _ in environment_of_word} | words_of_state

labels := environment_labels | labels_of_state

fields := size_fields | {"spec.strategy.type", "state"}

# --- How far it reaches -----------------------------------------------------------------------------------------------

# Per cent that pass over an edge, by why it is there.
passing := {"value": 90, "lifecycle": 90, "provider": 90, "order": 50}

# --- The judgement ----------------------------------------------------------------------------------------------------

judged[index] := judgement if {
	some index, resource in input.resources
	class := class_of(resource)
	stateful := is_stateful(resource, class)
	environment := environment_of(resource)
	whole := (full_worth(class, stateful) * percent_of_environment[environment]) / 100
	members := members_of(resource, stateful)
	effect := effect_of(resource, class, stateful)
	remarks := [environment, remark_of_state(class, stateful), remark_of_pool(members)]
	judgement := {
		"worth": share_of_one(resource, whole, members, environment),
		"whole": whole,
		"what": concat(", ", array.concat([class.name], [remark | some remark in remarks; remark != ""])),
		"own": effect.own,
		"down": effect.down,
		"how": effect.how,
	}
}

# However many hosts stand side by side, each that is worked on counts a little: all of a large group at once is a lot.
share_of_one(resource, whole, members, environment) := max([whole / members, (2 * percent_of_environment[environment]) / 100]) if {
	resource.layer == "playbook"
} else := whole / members

remark_of_state(class, stateful) := "stateful" if {
	stateful
	class.holder
} else := ""

remark_of_pool(members) := sprintf("1 of %d", [members]) if {
	members > 1
} else := ""

# --- What it is -------------------------------------------------------------------------------------------------------

# What a resource of a class is worth in production, when there is one of it. Where `stateful` stands, it holds what is
# gone when it is gone; `holder` says that it may, and what it is worth then.
classes := {
	"backup": {"worth": 80, "stateful": true},
	"bucket": {"worth": 100, "stateful": true},
	"cache": {"worth": 60},
	"certificate": {"worth": 30},
	"cluster": {"worth": 100, "stateful": true},
	"configuration": {"worth": 5},
	"custom resource": {"worth": 10},
	"daemon set": {"worth": 60},
	"database": {"worth": 100, "stateful": true},
	"definition of custom resources": {"worth": 20, "stateful": true},
	"distribution": {"worth": 50},
	"firewall": {"worth": 10},
	"function": {"worth": 40},
	"group of machines": {"worth": 80},
	"identity": {"worth": 20},
	"job": {"worth": 5},
	"key": {"worth": 80, "stateful": true},
	"load balancer": {"worth": 50},
	"machine": {"worth": 60, "holder": 100},
	"monitoring": {"worth": 5},
	"namespace": {"worth": 10},
	"network": {"worth": 10},
	"pod": {"worth": 10},
	"queue": {"worth": 60, "stateful": true},
	"record": {"worth": 30},
	"resource": {"worth": 20},
	"route": {"worth": 20},
	"stateful set": {"worth": 80, "stateful": true},
	"value": {"worth": 1},
	"volume": {"worth": 100, "stateful": true},
	"workload": {"worth": 40, "holder": 80},
	"zone": {"worth": 80, "stateful": true},
}

# Types of Terraform by what their names look like; the first that fits counts.
patterns := [
	["^(null_resource|terraform_data|(random|time|tls|local|template|external|archive)_.*)$", "value"],
	["_(subnet_group|parameter_group|option_group|attachment|association|lifecycle_policy)$", "configuration"],
	["s3_bucket_(object|policy|acl|versioning|notification|public_access_block|logging|ownership_controls|.*_configuration)$", "configuration"],
	["(security_group|firewall|network_acl|_nsg|_waf)", "firewall"],
	["(backup_vault|backup_plan|snapshot)", "backup"],
	["(elasticache|redis|memcache)", "cache"],
	["(_db_instance|_db_cluster|_rds_|dynamodb_table|docdb|neptune|redshift|cosmosdb|spanner|bigtable|bigquery_|firestore|alloydb|memorydb|timestream|keyspaces|elasticsearch|opensearch|mongo|postgres|mysql|mariadb|mssql|_sql_|database)", "database"],
	["(_bucket|storage_account|storage_container|ecr_repository|artifact_registry_repository|container_registry)$", "bucket"],
	["(_volume|_disk|efs_file_system|fsx_|filestore|file_share)", "volume"],
	["(kms_key|crypto_key|key_ring|key_vault|secretsmanager_secret)$", "key"],
	["(_sqs_queue|sns_topic|kinesis|pubsub|eventhub|servicebus|_msk_|kafka|_mq_broker)", "queue"],
	["(autoscaling_group|scale_set|instance_group|node_group|node_pool|ecs_service|_fleet)", "group of machines"],
	["_cluster$", "cluster"],
	["(_lb|_alb|_elb|load_?balancer|application_gateway|frontdoor|forwarding_rule)$", "load balancer"],
	["(_lb_|_alb_|listener|target_group|backend_service|url_map|health_check)", "route"],
	["(cloudfront|_cdn_|distribution)", "distribution"],
	["(route53_zone|hosted_zone|dns_zone|managed_zone)$", "zone"],
	["(record|_dns_)", "record"],
	["(certificate|_acm_)", "certificate"],
	["(_iam_|_role|_policy|service_account|_user|_group_membership|access_)", "identity"],
	["(lambda|cloud_?function|function_app|cloud_run|app_service|_app$)", "function"],
	["(cloudwatch|alarm|monitor|log_group|dashboard|_metric)", "monitoring"],
	["stateful_?set", "stateful set"],
	["(deployment|helm_release|replication_controller|daemon_?set)", "workload"],
	["(vpc|network|subnet|gateway|route|peering|_vpn_|_eip|address|_nat_|vlan|bridge)", "network"],
	["(instance|machine|server|droplet|_vm|_node|_host|container)$", "machine"],
	["(config_map|_secret|ssm_parameter|launch_template|launch_configuration)", "configuration"],
	["_namespace$", "namespace"],
]

class_of_kind := {
	"ClusterRole": "identity",
	"ClusterRoleBinding": "identity",
	"ConfigMap": "configuration",
	"CronJob": "job",
	"CustomResourceDefinition": "definition of custom resources",
	"DaemonSet": "daemon set",
	"Deployment": "workload",
	"Gateway": "load balancer",
	"GRPCRoute": "route",
	"HorizontalPodAutoscaler": "configuration",
	"HTTPRoute": "route",
	"Ingress": "route",
	"Job": "job",
	"LimitRange": "configuration",
	"Machine": "machine",
	"Namespace": "namespace",
	"NetworkPolicy": "firewall",
	"Node": "machine",
	"PersistentVolume": "volume",
	"PersistentVolumeClaim": "volume",
	"Pod": "pod",
	"PodDisruptionBudget": "configuration",
	"ReplicaSet": "workload",
	"ReplicationController": "workload",
	"ResourceQuota": "configuration",
	"Role": "identity",
	"RoleBinding": "identity",
	"Secret": "configuration",
	"Service": "route",
	"ServiceAccount": "identity",
	"StatefulSet": "stateful set",
	"StorageClass": "configuration",
	"VolumeSnapshot": "backup",
}

# Kinds of operators that keep data.
kinds_with_data := "(?i)(postgres|mysql|mariadb|mongo|redis|kafka|cassandra|elasticsearch|opensearch|rabbitmq|etcd|database|vault|^cluster$)"

# Whatever a task does, it does it to a machine that serves.
class_of(resource) := object.union({"name": "machine", "stateful": false}, classes.machine) if {
	resource.layer == "playbook"
} else := object.union({"name": name, "stateful": false, "holder": false}, classes[name]) if {
	name := class_of_type[resource.type]
}

# Each type is looked up once, however many resources have it.
class_of_type := {type: class_named(type) | some type in {resource.type | some resource in input.resources}}

class_named(type) := object.get(class_of_kind, kind, custom_class(kind)) if {
	contains(type, "/")
	segments := split(type, "/")
	kind := segments[count(segments) - 1]
} else := array.concat([class | some [pattern, class] in patterns; regex.match(pattern, type)], ["resource"])[0]

custom_class(kind) := "database" if {
	regex.match(kinds_with_data, kind)
} else := "custom resource"

# --- What it holds ----------------------------------------------------------------------------------------------------

words_of_state := {
	"cassandra", "database", "databases", "db", "elasticsearch", "etcd", "kafka", "mariadb", "minio", "mongo", "mongodb",
	"mysql", "nfs", "opensearch", "persistent", "postgres", "postgresql", "rabbitmq", "redis", "stateful", "storage",
	"vault", "zookeeper",
}

labels_of_state := {
	"app", "app.kubernetes.io/component", "app.kubernetes.io/name", "component", "name", "role", "tier", "type",
}

is_stateful(resource, class) if {
	class.stateful
} else if {
	class.holder
	some word in resource.words
	word in words_of_state
} else if {
	class.holder
	some label in labels_of_state
	some word in words_in(resource.labels[label])
	word in words_of_state
} else := false

words_in(label) := regex.split(`[^a-z]+`, lower(sprintf("%v", [label])))

full_worth(class, stateful) := class.holder if {
	stateful
	class.holder
} else := class.worth

# Members of a pool stand in for each other; what holds data of its own does not.
members_of(resource, stateful) := 1 if {
	stateful
} else := max([1, resource.pool])

# --- Where it is ------------------------------------------------------------------------------------------------------

percent_of_environment := {"production": 100, "staging": 50, "development": 20, "": 100}

environment_of_word := {
	"prod": "production", "production": "production", "prd": "production",
	"acceptance": "staging", "preprod": "staging", "preproduction": "staging", "qa": "staging", "stage": "staging",
	"staging": "staging", "stg": "staging", "uat": "staging",
	"demo": "development", "dev": "development", "devel": "development", "develop": "development",
	"development": "development", "ephemeral": "development", "playground": "development", "preview": "development",
	"sandbox": "development", "test": "development", "testing": "development",
}

environment_labels := {"app.kubernetes.io/environment", "deployment_environment", "env", "environment", "stage"}

# A label says it better than a name, the resource's own name better than that of the score. Of several words the one
# that makes it worth more counts. Where nothing is said it counts as production.
environment_of(resource) := array.concat(
	strongest({environment_of_word[word] |
		some label in environment_labels
		some word in words_in(resource.labels[label])
	}),
	array.concat(
		strongest({environment_of_word[word] | some word in resource.words}),
		array.concat(strongest({environment_of_word[word] | some word in input.score}), [""]),
	),
)[0]

strongest(names) := [name | some name in ["production", "staging", "development"]; name in names]

# --- What is done to it -----------------------------------------------------------------------------------------------

effect_of(resource, class, stateful) := {"own": share[0], "down": share[1], "how": share[2]} if {
	resource.layer == "playbook"
	resource.action in {"update", "delete"}
	share := done_by_task(resource, module_of(resource))
} else := effect_of_update(resource, class, stateful) if {
	resource.action == "update"
} else := {"own": lost(resource, stateful), "down": lost_below(resource, class, stateful), "how": how} if {
	how := {
		"delete": "deleted",
		"delete-then-create": "replaced",
		"create-then-delete": "replaced, the new one first",
	}[resource.action]
} else := {"own": 0, "down": 0, "how": resource.action}

# What cannot come back counts half as much again.
lost(resource, stateful) := 150 if {
	stateful
	resource.irreversible
} else := 50 if {
	not stateful
	resource.action == "create-then-delete"
} else := 100

# Nobody notices at once that one of these is gone: what changes for those who use it is planned as their own change.
carriers_of_values := {"value", "configuration", "identity", "monitoring"}

lost_below(resource, class, stateful) := 0 if {
	class.name in carriers_of_values
} else := 30 if {
	not stateful
	resource.action == "create-then-delete"
} else := 100

effect_of_update(resource, class, stateful) := {"own": 0, "down": 0, "how": "named or described in another way"} if {
	only_of(resource, names_only)
} else := scaled(before, after) if {
	only_of(resource, names_only | size_fields)
	before := size_of(resource.before)
	after := size_of(resource.after)
} else := rolled(resource, class, stateful) if {
	class.name in {"workload", "stateful set", "daemon set"}
	"spec.template" in resource.changed
} else := {"own": 10, "down": 0, "how": "changed"} if {
	class.name in carriers_of_values
} else := {"own": 2, "down": 0, "how": "changed"} if {
	class.name in {"workload", "stateful set", "daemon set"}
} else := {"own": 20, "down": 10, "how": "changed in place"} if {
	class.name in {"firewall", "network", "route", "load balancer", "zone", "record"}
} else := {"own": 20, "down": 5, "how": "changed in place"} if {
	stateful
} else := {"own": 10, "down": 5, "how": "changed in place"}

# Fields that only say what something is called or belongs to.
names_only := {
	"annotations", "description", "effective_labels", "labels", "tags", "tags_all", "terraform_labels",
	"metadata.annotations", "metadata.labels",
}

# Fields that say how many there are.
size_fields := {"desired_capacity", "desired_count", "desired_size", "node_count", "replicas", "spec.replicas"}

only_of(resource, fields) if {
	count(resource.changed) > 0
	every field in resource.changed {
		field in fields
	}
}

size_of(values) := [size | some field in size_fields; size := values[field]; is_number(size)][0]

scaled(before, after) := {"own": 0, "down": 0, "how": sprintf("%d more", [after - before])} if {
	after >= before
} else := {"own": 100, "down": 100, "how": "scaled to none"} if {
	after == 0
} else := {"own": 15, "down": 0, "how": "left with one"} if {
	after == 1
} else := {"own": 20, "down": 0, "how": sprintf("%d of %d taken away", [before - after, before])} if {
	after * 2 < before
} else := {"own": 2, "down": 0, "how": sprintf("%d of %d taken away", [before - after, before])}

rolled(resource, class, stateful) := {"own": 30, "down": 30, "how": "stopped, then started anew"} if {
	resource.after["spec.strategy.type"] == "Recreate"
} else := {"own": 10, "down": 5, "how": "rolls machine by machine"} if {
	class.name == "daemon set"
} else := {"own": 10, "down": 5, "how": sprintf("rolls %d replicas", [size_of(resource.after)])} if {
	stateful
	size_of(resource.after) > 1
} else := {"own": 40, "down": 20, "how": "restarts its only replica"} if {
	stateful
} else := {"own": 2, "down": 0, "how": sprintf("rolls %d replicas", [size_of(resource.after)])} if {
	size_of(resource.after) > 1
} else := {"own": 5, "down": 0, "how": "rolls its only replica"}

# --- What a task of a playbook does to its machine -------------------------------------------------------------------

module_of(resource) := segments[count(segments) - 1] if {
	segments := split(resource.type, ".")
}

modules := {
	"account": {"authorized_key", "group", "htpasswd", "known_hosts", "sudoers", "user"},
	"command": {"command", "expect", "raw", "script", "shell", "uri"},
	"containers": {
		"docker_compose_v2", "docker_container", "docker_stack", "docker_swarm_service", "k8s", "podman_container",
		"podman_pod",
	},
	"file": {
		"archive", "assemble", "blockinfile", "copy", "cron", "debconf", "file", "get_url", "git", "ini_file",
		"lineinfile", "replace", "synchronize", "template", "tempfile", "unarchive", "xml",
	},
	"network": {
		"firewalld", "hostname", "interfaces_file", "iptables", "nftables", "nmcli", "selinux", "sysctl", "ufw",
	},
	"package": {
		"apk", "apt", "dnf", "dnf5", "flatpak", "gem", "homebrew", "npm", "package", "pacman", "pip", "snap", "yum",
		"zypper",
	},
	"restart": {"reboot", "shutdown"},
	"service": {"runit", "service", "supervisorctl", "systemd", "systemd_service", "sysvinit"},
	"storage": {
		"btrfs_subvolume", "filesystem", "lvg", "lvol", "luks_device", "mdadm", "parted", "zfs",
	},
}

takes_away(resource) if {
	resource.action == "delete"
} else if {
	resource.after.state in {"absent", "removed", "uninstalled", "unmounted"}
}

# The two shares in per cent, and what is done in words.
done_by_task(resource, module) := [100, 100, "deletes a database"] if {
	takes_away(resource)
	regex.match(`(^|_)(db|database|keyspace)$`, module)
} else := [100, 100, "takes away what data lies on"] if {
	takes_away(resource)
	module in modules.storage
} else := [50, 20, "changes what data lies on"] if {
	module in modules.storage
} else := [40, 20, "restarts the machine"] if {
	module in modules.restart
} else := done_to_service(resource) if {
	module in modules.service
} else := done_to_package(resource) if {
	module in modules.package
} else := [40, 20, "takes containers away"] if {
	takes_away(resource)
	module in modules.containers
} else := [15, 5, "changes containers"] if {
	module in modules.containers
} else := [40, 20, "unmounts"] if {
	takes_away(resource)
	module == "mount"
} else := [15, 10, "changes how the machine is reached"] if {
	module in modules.network
} else := [20, 10, "runs a command"] if {
	module in modules.command
} else := [20, 0, "takes an account away"] if {
	takes_away(resource)
	module in modules.account
} else := [15, 5, "deletes what cannot be brought back"] if {
	takes_away(resource)
	resource.irreversible
} else := [10, 5, "takes something away"] if {
	takes_away(resource)
} else := [5, 0, "changes an account"] if {
	module in modules.account
} else := [5, 0, "changes a file"] if {
	module in modules.file
} else := [10, 5, "changes the machine"]

done_to_service(resource) := [40, 30, "stops a service"] if {
	resource.action == "delete"
} else := [40, 30, "stops a service"] if {
	resource.after.state == "stopped"
} else := [20, 10, "restarts a service"] if {
	resource.after.state == "restarted"
} else := [5, 0, "changes a service"]

done_to_package(resource) := [30, 10, "removes a package"] if {
	takes_away(resource)
} else := [15, 5, "upgrades a package"] if {
	resource.after.state in {"latest", "build-dep", "fixed"}
} else := [10, 5, "changes a package"]

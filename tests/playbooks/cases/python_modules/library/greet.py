#!/usr/bin/python
from ansible.module_utils.basic import AnsibleModule

def main():
    module = AnsibleModule(argument_spec=dict(name=dict(required=True), path=dict(type='path'), times=dict(type='int', default=1), secret=dict(no_log=True)), supports_check_mode=True)
    p = module.params
    text = "\n".join(["hello %s" % p['name']] * p['times']) + "\n"
    changed = False
    if p['path']:
        try:
            changed = open(p['path']).read() != text
        except OSError:
            changed = True
        if changed and not module.check_mode:
            open(p['path'], 'w').write(text)
    if p['name'] == 'nobody':
        module.fail_json(msg='nobody is there', changed=changed)
    if p['times'] > 5:
        module.warn('that is many')
    module.exit_json(changed=changed, greeting=text, ansible_facts={'greeted': p['name']})

main()

"""Rules, chains and policies of the packet filter, in a network namespace of their own."""

CASES = []
def case(name, setup, *steps, **more):
    CASES.append(dict(name=name, setup=setup, steps=list(steps), **more))

CH = {'check': True, 'diff': True}
i = lambda **k: ('iptables', k)
ic = lambda **k: ('iptables', k, CH)
SAVE = '(iptables-save; ip6tables-save) 2>/dev/null | grep -v "^#" > /tmp/w'
case('iptables rules', '',
     ic(chain='INPUT', protocol='tcp', destination_port=22, jump='ACCEPT'),
     i(chain='INPUT', protocol='tcp', destination_port=22, jump='ACCEPT'), SAVE, i(chain='INPUT', protocol='tcp', destination_port=22, jump='ACCEPT'),
     i(chain='INPUT', source='!10.0.0.0/8', in_interface='eth0', action='insert', rule_num=1, jump='DROP'),
     i(chain='INPUT', ctstate=['ESTABLISHED', 'RELATED'], jump='ACCEPT', comment='it is'),
     i(chain='INPUT', ctstate='NEW', match='conntrack', jump='ACCEPT'),
     i(chain='INPUT', ctstate='NEW', match='state', jump='ACCEPT'), SAVE, i(chain='OUTPUT', protocol='tcp', destination_ports=['80', '443', '8081:8083'], jump='ACCEPT'),
     i(chain='INPUT', protocol='tcp', tcp_flags=dict(flags='ALL', flags_set=['ACK', 'RST', 'SYN', 'FIN']), jump='DROP'),
     i(chain='INPUT', protocol='tcp', syn='match', reject_with='tcp-reset', ip_version='ipv4'),
     i(chain='INPUT', protocol='tcp', syn='negate', jump='ACCEPT'),
     i(chain='INPUT', protocol='icmp', icmp_type='echo-request', jump='ACCEPT'),
     i(chain='FORWARD', src_range='192.168.1.100-192.168.1.199', dst_range='10.0.0.1-10.0.0.50', jump='ACCEPT'),
     i(chain='INPUT', limit='2/second', limit_burst='20', log_prefix='X: ', log_level='info'),
     i(chain='INPUT', log_prefix='X', jump='ACCEPT'),
     i(chain='OUTPUT', uid_owner='root', gid_owner='!0', jump='ACCEPT'),
     i(chain='INPUT', ip_version='ipv6', protocol='icmpv6', icmp_type='echo-request', jump='ACCEPT'),
     i(chain='INPUT', ip_version='both', protocol='tcp', destination_port='99', jump='DROP'),
     i(chain='INPUT', ip_version='both', protocol='tcp', destination_port='99', jump='DROP'), SAVE, i(chain='INPUT', protocol='tcp', destination_port='22', jump='ACCEPT', state='absent'),
     ic(chain='INPUT', ip_version='both', protocol='tcp', destination_port='99', jump='DROP', state='absent'),
     i(chain='INPUT', ip_version='both', protocol='tcp', destination_port='99', jump='DROP', state='absent'), SAVE)
case('iptables tables', '',
     i(table='nat', chain='PREROUTING', in_interface='eth0', protocol='tcp', match='tcp', destination_port='80', jump='REDIRECT', to_ports='8600', comment='Redirect web'),
     i(table='nat', chain='POSTROUTING', jump='SNAT', to_source='10.0.0.1', out_interface='!eth1'),
     i(table='nat', chain='PREROUTING', protocol='tcp', jump='DNAT', to_destination='10.1.1.1:80'),
     i(table='mangle', chain='OUTPUT', protocol='tcp', set_dscp_mark='8', jump='DSCP'),
     i(table='mangle', chain='OUTPUT', protocol='tcp', set_dscp_mark_class='CS1', jump='DSCP'),
     i(table='mangle', chain='OUTPUT', protocol='tcp', set_dscp_mark='8', jump='ACCEPT'),
     i(table='mangle', chain='PREROUTING', jump='TEE', gateway='10.0.0.2'),
     i(table='mangle', chain='PREROUTING', jump='TEE'),
     i(table='raw', chain='OUTPUT', goto='X'),
     i(chain='INPUT', match_set='x', match_set_flags='src', jump='DROP'),
     i(chain='INPUT', match='set', match_set='x', jump='DROP'),
     i(chain='INPUT', set_counters='5 6', fragment='!'), SAVE, i(chain='INPUT', protocol=''),
     i(chain='INPUT', wait=5, protocol='udp', source_port='53', jump='ACCEPT'), SAVE)
case('iptables chains', '',
     i(chain='ONE'),
     ic(chain='ONE', chain_management=True),
     i(chain='ONE', chain_management=True),
     i(chain='ONE', chain_management=True),
     i(chain='ONE', protocol='tcp', jump='ACCEPT'),
     i(chain='ONE', state='absent', chain_management=True),
     i(chain='ONE', flush=True),
     ic(chain='ONE', flush=True),
     i(flush=True),
     i(chain='ONE', state='absent'),
     i(chain='ONE', state='absent', chain_management=True, numeric=True),
     i(chain='ONE', state='absent', chain_management=True),
     i(chain='INPUT', policy='DROP'),
     i(chain='INPUT', policy='DROP', numeric=True),
     ic(chain='INPUT', policy='ACCEPT'),
     i(chain='NOPE', policy='DROP'),
     i(chain='ONE', policy='DROP', flush=True),
     i(),
     i(chain='INPUT', policy='X'),
     i(chain='INPUT', set_dscp_mark='1'),
     i(chain='INPUT', jump='NOPE'), SAVE)

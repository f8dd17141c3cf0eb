class FilterModule:
    def filters(self):
        return {'shout': lambda text, n=1: text.upper() + '!' * n}

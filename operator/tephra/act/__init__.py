"""What the operator does to the world, apart from the status write: objects, the bus, keys, the catalogue.

:mod:`.perform` dispatches the actions of a plan; :mod:`.bus` is the operator's side of the core bus and
:mod:`.authorisers` put its roles in force; :mod:`.credentials` derives every password and certificate (pure);
:mod:`.keys` keeps the master key and the CA; :mod:`.config` reads the environment.
"""

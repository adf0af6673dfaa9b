/* The types of ports that there are; each is documented in its own file. */
#ifndef QUAKE_PORTS_TYPES_H
#define QUAKE_PORTS_TYPES_H 1

#include "port.h"

extern const struct port_type port_type_dpdk;       /* ethdev.c */
extern const struct port_type port_type_af_xdp;     /* ethdev.c */
extern const struct port_type port_type_vhost_user; /* vhost.c */
extern const struct port_type port_type_memif;      /* memif.c */
extern const struct port_type port_type_af_packet;  /* kernel.c */
extern const struct port_type port_type_tap;        /* kernel.c */
extern const struct port_type port_type_vxlan;      /* vxlan.c */

#endif
